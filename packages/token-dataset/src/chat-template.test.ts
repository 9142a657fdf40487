import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
import { ChatTemplate, type Conversation, loadChatTemplate, specialTokensOf } from './chat-template.ts';
import { TemplateError } from './errors.ts';
import { temporaryFolder, tinyTokenizer } from './testing.ts';
import { Tokenizer } from './tokenizer.ts';

const special = { bos_token: '<s>', eos_token: '</s>' };
const chat: Conversation = [
  { role: 'user', content: 'Who sees?' },
  { role: 'assistant', content: 'The captain' },
];

it('counts as Jinja does, up to a limit, and leaves keys that are called range alone', () => {
  const render = (source: string) => new ChatTemplate('t', source, {}).render([]);
  expect(render('{% for i in range(3) %}{{ i }}{% endfor %} {{ range(2, 9, 3)[1] }} range(3)')).toBe(
    '012 5 range(3)',
  );
  expect(render("{% set x = {'range': 7} %}{{ x.range }} {{ x['range'] }}")).toBe('7 7');
  expect(() => render('{{ range(100001) }}')).toThrow(/range has 100001 numbers, expected at most 100000/);
});

describe('ChatTemplate', () => {
  it('its pieces are the text, with each content apart', () => {
    const contents = fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(contents, fc.constantFrom(...Object.keys(BUILT_IN_TEMPLATES)), (texts, name) => {
        const messages: Conversation = texts.map((content, i) => ({
          role: i % 2 ? 'assistant' : 'user',
          content,
        }));
        const template = new ChatTemplate(name, BUILT_IN_TEMPLATES[name], special);
        const pieces = template.pieces(messages);
        expect(pieces.map(({ text }) => text).join('')).toBe(template.render(messages));
        for (const { text, message } of pieces) {
          if (message !== undefined) expect(text).toBe(texts[message].trim());
        }
        const told = pieces.flatMap(({ message }) => message ?? []);
        expect(told).toEqual([...texts.keys()].filter((i) => texts[i].trim() !== ''));
      }),
    );
  });

  it('takes other marks where a text has the first ones in it', () => {
    const template = new ChatTemplate('alpaca', BUILT_IN_TEMPLATES.alpaca, special);
    const pieces = template.pieces([chat[0], { role: 'assistant', content: 'a\ufdd0b' }]);
    expect(pieces.find(({ message }) => message === 1)?.text).toBe('a\ufdd0b');
    const every = Array.from({ length: 30 }, (_, i) => String.fromCharCode(0xfdd0 + i)).join('');
    expect(() => template.pieces([{ role: 'user', content: every }])).toThrow('noncharacters');
  });

  it('tells templates the same day always', () => {
    const source = "{% for m in messages %}{{ strftime_now('%d %b %Y') + m.content }}{% endfor %}";
    expect(new ChatTemplate('t', source, special).render(chat.slice(0, 1))).toBe('26 Jul 2024Who sees?');
  });

  it('refuses in the template’s own words', () => {
    const template = new ChatTemplate('strict', "{{ raise_exception('roles must alternate') }}", special);
    expect(() => template.render(chat)).toThrow(
      'chat template strict: refuses the roles user, assistant: roles must alternate; use the template',
    );
    expect(() => new ChatTemplate('broken', '{% if %}', special)).toThrow(/broken: not a Jinja template: /);
  });
});

describe('loadChatTemplate', () => {
  function load(files: Record<string, string>, choice?: string) {
    const folder = temporaryFolder();
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const options = { choice: choice?.replace('FOLDER', folder), setting: '--template' };
    return loadChatTemplate(folder, special, options);
  }
  const config = (chat_template: unknown) => ({ 'tokenizer_config.json': JSON.stringify({ chat_template }) });
  const several = [
    { name: 'rag', template: 'R' },
    { name: 'default', template: 'D' },
  ];

  it.each([
    ['chat_template.jinja first', { ...config('B'), 'chat_template.jinja': 'A' }, undefined, 'A'],
    ['tokenizer_config.json', config('B'), undefined, 'B'],
    ['the default of several', config(several), undefined, 'D'],
    ['the first of several', config(several.slice(0, 1)), undefined, 'R'],
    ['a built-in one', config('B'), 'alpaca', BUILT_IN_TEMPLATES.alpaca],
    ['a file', { 'mine.jinja': 'M' }, 'FOLDER/mine.jinja', 'M'],
    ['a tokenizer_config.json as a file', config('B'), 'FOLDER/tokenizer_config.json', 'B'],
  ])('%s', (_, files, choice, source) => {
    expect(load(files, choice).source).toBe(source);
  });

  it.each([
    [
      {},
      undefined,
      /: the model has no chat template, .*; set --template to one of chatml, .*, or to a file$/,
    ],
    [config(null), undefined, /the model has no chat template/],
    [{}, 'nope', /^--template nope: no such template or file, expected one of chatml, .*, or a file$/],
    [{}, 'constructor', /no such template or file/],
    [{}, 'FOLDER', /no such template or file/],
    [config(7), 'FOLDER/tokenizer_config.json', /holds no chat_template/],
    [{ 'tokenizer_config.json': '{' }, undefined, /tokenizer_config\.json: not JSON: /],
  ])('%j, %s is refused', (files, choice, message) => {
    expect(() => load(files, choice)).toThrow(TemplateError);
    expect(() => load(files, choice)).toThrow(message);
  });
});

it('special tokens have names, written either way', () => {
  const config = {
    bos_token: { content: '<s>', lstrip: false },
    pad_token: '<pad>',
    eos_token: null,
    model_max_length: 9,
  };
  const tokenizer = new Tokenizer(tinyTokenizer.json, config, 'test');
  expect(specialTokensOf(tokenizer)).toEqual({ bos_token: '<s>', pad_token: '<pad>' });
});
