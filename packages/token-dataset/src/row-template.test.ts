import { expect, it } from 'vitest';
import { RowTemplate } from './row-template.ts';

const row = {
  a: ['x', "it's", 'q"', 'both\'"'],
  n: 3n,
  b: true,
  z: null,
  s: ' Hi. ',
  o: { k: [1, { x: false }] },
  t: 'é\t\u00a0\n\u200b',
};

// As jinja2 3.1 renders them in lm-evaluation-harness 0.4.13.
it.each([
  [
    '{{a}} {{o}} {{b}} {{z}} {{t}}{{[t]}}',
    `['x', "it's", 'q"', 'both\\'"'] {'k': [1, {'x': False}]} True None é\t\u00a0\n\u200b['é\\t\\xa0\\n\\u200b']`,
  ],
  ['{{s.strip()}}|{{s.lstrip()}}|{{s|trim}}\n', 'Hi.|Hi. |Hi.\n'],
  ["{{a.index(\"it's\")}}{{'ABC'.index('C')}} {{[1, 0].index(b)}}", '12 0'],
  ["{{a|string}} {{', '.join(a)}}", `['x', "it's", 'q"', 'both\\'"'] x, it's, q", both'"`],
  ['{% if z is none %}\n  none\n{% endif %}\nend\n', '\n  none\n\nend\n'],
  ["{{ '1' == 1 }} {{ 1 == b }} {{ n != 3 }} {{ 'a' in 'abc' }}", 'False True False True'],
  [
    '{% for x in a %}{{loop.index}}{{x}}{% if not loop.last %}, {% endif %}{% endfor %}',
    '1x, 2it\'s, 3q", 4both\'"',
  ],
  ["{{a[n - 1]}}{{a[-1]}}{{s[1:3]}}{{s.split('.')[0]|upper}}", 'q"both\'"Hi HI'],
  ["{{ missing if missing is defined else n ~ 'x' }}", '3x'],
  [
    "{{s.capitalize()}} {{'x.y'.removesuffix('.y')}} {{'aba'.count('a')}} {{'12'.isdigit()}}",
    ' hi.  x 2 True',
  ],
  ['{%- set w = n * 2 -%} {{w}} {{range(1, 4)|list}}', '6 [1, 2, 3]'],
])('renders %j as Python does', (template, expected) => {
  expect(new RowTemplate(template, 'task').render(row)).toBe(expected);
});

it.each([
  ['{{ missing }}', /^task\.yaml: the template fails: field missing is missing$/],
  ['{{ o.y }}', /a field is missing$/],
  ['{{ s|unknown }}', /Unknown StringValue filter: unknown$/],
  ["{{ ['A'].index(s) }}", /index: " Hi\. " is not in \["A"\]$/],
])('refuses %s', (template, message) => {
  expect(() => new RowTemplate(template, 'task.yaml').render(row)).toThrow(message);
});

it('refuses a text that is no Jinja, with its name', () => {
  expect(() => new RowTemplate('{{ a', 'task.yaml')).toThrow(/^task\.yaml: the template fails: /);
});
