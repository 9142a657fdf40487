import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ChatTemplate } from './chat-template.ts';
import { fixture } from './testing.ts';

const cases: { text: string; characters: string | null; strip: string; lstrip: string; rstrip: string }[] =
  JSON.parse(readFileSync(fixture('strip.json'), 'utf8'));

it('templates strip white space and characters as in Python', () => {
  for (const { text, characters, ...expected } of cases) {
    const argument = characters === null ? '' : 'bos_token';
    for (const [method, stripped] of Object.entries(expected)) {
      const template = new ChatTemplate('t', `{{ messages[0].content.${method}(${argument}) }}`, {
        bos_token: characters ?? '',
      });
      expect(template.render([{ role: 'user', content: text }])).toBe(stripped);
    }
  }
});

it('the filter trim strips too, and undefined values render as nothing', () => {
  const render = (source: string) =>
    new ChatTemplate('t', source, {}).render([{ role: 'user', content: '\ufeff \x1c' }]);
  expect(render("{% for m in messages %}{% set x = {'a': m.content | trim} %}{{ x.a }}{% endfor %}")).toBe(
    '\ufeff',
  );
  expect(render("{{ ('<' + messages[0].content | trim) | length }}{{ messages[0].none | trim }}")).toBe('2');
  expect(() => render('{{ messages.strip() }}')).toThrow('expected text');
});
