import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
import { ChatTemplate, loadChatTemplate, specialTokensOf } from './chat-template.ts';
import { type Conversation, withTools } from './conversation.ts';
import { TemplateError } from './errors.ts';
import { temporaryFolder, tinyTokenizer } from './testing.ts';
import { Tokenizer } from './tokenizer.ts';

const special = { bos_token: '<s>', eos_token: '</s>' };
const chat: Conversation = [
  { role: 'user', content: 'Who sees?' },
  { role: 'assistant', content: 'The captain' },
];

it('range counts as in Jinja, up to a limit, and keys named range are unaffected', () => {
  const render = (source: string) => new ChatTemplate('t', source, {}).render([]);
  expect(render('{% for i in range(3) %}{{ i }}{% endfor %} {{ range(2, 9, 3)[1] }} range(3)')).toBe(
    '012 5 range(3)',
  );
  expect(render("{% set x = {'range': 7} %}{{ x.range }} {{ x['range'] }}")).toBe('7 7');
  expect(() => render('{{ range(100001) }}')).toThrow(/range has 100001 numbers, expected at most 100000/);
});

describe('ChatTemplate', () => {
  it('its pieces are the text, with each content separate', () => {
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

  it('uses other marks if a text contains the first ones', () => {
    const template = new ChatTemplate('alpaca', BUILT_IN_TEMPLATES.alpaca, special);
    const pieces = template.pieces([chat[0], { role: 'assistant', content: 'a\ufdd0b' }]);
    expect(pieces.find(({ message }) => message === 1)?.text).toBe('a\ufdd0b');
    const every = Array.from({ length: 30 }, (_, i) => String.fromCharCode(0xfdd0 + i)).join('');
    expect(() => template.pieces([{ role: 'user', content: every }])).toThrow('noncharacters');
  });

  it('shows templates a fixed date', () => {
    const source = "{% for m in messages %}{{ strftime_now('%d %b %Y') + m.content }}{% endfor %}";
    expect(new ChatTemplate('t', source, special).render(chat.slice(0, 1))).toBe('26 Jul 2024Who sees?');
  });

  it('refuses with the message of the template', () => {
    const template = new ChatTemplate('strict', "{{ raise_exception('roles must alternate') }}", special);
    expect(() => template.render(chat)).toThrow(
      'chat template strict: refuses the roles user, assistant: roles must alternate; use the template',
    );
    expect(() => new ChatTemplate('broken', '{% if %}', special)).toThrow(/broken: not a Jinja template: /);
  });
});

describe('contents in the text', () => {
  const of = (source: string, messages: Conversation) =>
    new ChatTemplate('t', source, special)
      .pieces(messages)
      .flatMap(({ text, message }) => (message === undefined ? [] : [[message, text]]));
  const ask = (...contents: string[]): Conversation =>
    contents.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));
  const trimsUsers =
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}" +
    "{{ '[INST] ' + m['content'] | trim + ' [/INST] ' }}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}";

  it('a message that is trimmed moves the marks of no other', () => {
    expect(of(trimsUsers, ask('Hi ', 'Red.\n', ' Hi', '\n\nHi \n'))).toEqual([
      [0, 'Hi'],
      [1, 'Red.\n'],
      [2, 'Hi'],
      [3, '\n\nHi \n'],
    ]);
  });

  it('are found under any mixture of filters, regardless of their text', () => {
    const filters: Record<string, (text: string) => string> = {
      '': (text) => text,
      ' | trim': (text) => text.trim(),
      '.lstrip()': (text) => text.trimStart(),
      '.rstrip()': (text) => text.trimEnd(),
      ".strip('\\n')": (text) => text.replace(/^\n+|\n+$/g, ''),
      " | replace('a', 'b')": (text) => text.replaceAll('a', 'b'),
      ' | upper': (text) => text.toUpperCase(),
    };
    const word = fc.constantFrom(
      'Hi',
      'a',
      'Hi Hi',
      '{{ x }}',
      '{% endfor %}',
      '[/INST]',
      '</s>',
      '\ufdd0',
      'A',
      '0',
    );
    const space = fc.constantFrom('', ' ', '\n', ' \n\t ');
    const content = fc.tuple(space, word, space).map((parts) => parts.join(''));
    const filter = fc.constantFrom(...Object.keys(filters));
    fc.assert(
      fc.property(
        fc.array(content, { minLength: 2, maxLength: 6 }),
        filter,
        filter,
        (texts, user, answer) => {
          const source =
            `{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content${user} }}[/INST]{% else %}` +
            `{{ m.content${answer} }}</s>{% endif %}{% endfor %}`;
          expect(of(source, ask(...texts))).toEqual(
            texts.map((text, i) => [i, filters[i % 2 ? answer : user](text)]),
          );
        },
      ),
      { numRuns: 200 },
    );
  });

  it.each([
    [
      'a role that is skipped',
      "{% for m in messages if m.role != 'system' %}{{ m.role + m.content }}{% endfor %}",
    ],
    ['a message that is skipped', '{% for m in messages[1:] %}{{ m.role + m.content }}{% endfor %}'],
  ])('%s is noticed', (_, source) => {
    expect(() => of(source, [{ role: 'system', content: 'Be brief.' }, ...ask('Q', 'A')])).toThrow(
      'chat template t: omits message 1 of 3 (role system), expected the whole conversation',
    );
  });

  it.each([
    ['system', 'user', 'assistant'],
    ['user', 'system', 'assistant'],
    ['user', 'assistant', 'tool'],
  ] as const)('a role that is written like an answer is noticed: %s, %s, %s', (...roles) => {
    const messages = roles.map((role, i) => ({ role, content: `${i}` }));
    const of = roles.findIndex((role) => role === 'system' || role === 'tool') + 1;
    expect(() => new ChatTemplate('t', trimsUsers, special).pieces(messages)).toThrow(
      `writes message ${of} of 3 (role ${messages[of - 1].role}) like an answer`,
    );
  });

  it('names, tools and calls that a template omits are detected', () => {
    const tool = (name: string) => ({ type: 'function', function: { name } });
    const call = (name: string) => ({ function: { name, arguments: {} } });
    const named: Conversation = [{ role: 'user', content: 'Q', name: 'Ann' }, ask('Q', 'A')[1]];
    const calling: Conversation = [
      ask('Q')[0],
      { role: 'assistant', content: '', tool_calls: [call('f'), call('g')] },
    ];
    expect(() => of(trimsUsers, named)).toThrow('omits name of message 1 of 2');
    expect(() => of(trimsUsers, calling)).toThrow('omits tool_calls of message 2 of 2');
    expect(() => of(trimsUsers, withTools(ask('Q', 'A'), [tool('f')]))).toThrow('omits tool 1 of 1');
    // One of several, too.
    const firstCall = `{% if messages[1].tool_calls %}{{ messages[1].tool_calls[0].function.name }}{% endif %}${trimsUsers}`;
    expect(() => of(firstCall, calling)).toThrow('omits tool_calls of message 2 of 2');
    const firstTool = `{% if tools %}{{ tools[0].function.name }}{% endif %}${trimsUsers}`;
    expect(() => of(firstTool, withTools(ask('Q', 'A'), [tool('f'), tool('g')]))).toThrow(
      'omits tool 2 of 2',
    );
    const all =
      '{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.name }}{% for c in m.tool_calls or [] %}' +
      `{{ c.function | tojson }}{% endfor %}{% endfor %}${trimsUsers}`;
    for (const written of [named, calling, withTools(ask('Q', 'A'), [tool('f'), tool('g')])]) {
      expect(() => of(all, written)).not.toThrow();
    }
  });

  it('are found if a template trims some and rewrites others', () => {
    const source =
      "{% for m in messages %}{{ m.content | trim if m.role == 'user' else m.content | tojson }}{% endfor %}";
    expect(of(source, ask('Hi ', 'Red.\n', '\n"Hi"', ' "'))).toEqual([
      [0, 'Hi'],
      [1, 'Red.\\n'],
      [2, '"Hi"'],
      [3, ' \\"'],
    ]);
  });

  it('templates see reasoning as thinking too', () => {
    const messages: Conversation = [{ role: 'assistant', content: 'A', reasoning_content: 'R' }];
    expect(of('{{ messages[0].thinking }}: {{ messages[0].content }}', messages)).toEqual([
      [0, 'R'],
      [0, 'A'],
    ]);
  });

  it('reasoning may be missing from messages that are not trained on', () => {
    const messages = ask('Q', 'A');
    const thought = (learn?: boolean): Conversation => [
      messages[0],
      { ...messages[1], reasoning_content: 'R', learn },
    ];
    expect(() => of(trimsUsers, thought())).toThrow('omits reasoning_content of message 2 of 2');
    expect(of(trimsUsers, thought(false))).toEqual([
      [0, 'Q'],
      [1, 'A'],
    ]);
  });
});

describe('formats without a turn for system messages', () => {
  const system = (content: string) => ({ role: 'system' as const, content });
  it.each([
    ['llama-2', '<s>[INST] <<SYS>>\nS1\n\nS2\n<</SYS>>\n\nOne [/INST] Two </s>'],
    ['mistral', '<s>[INST] S1\n\nS2\n\nOne [/INST] Two</s>'],
    ['alpaca', '<s>S1\n\nS2\n\n### Instruction:\nOne\n\n### Response:\nTwo</s>\n\n'],
  ])('%s joins those that a conversation begins with, and refuses others', (name, text) => {
    const template = new ChatTemplate(name, BUILT_IN_TEMPLATES[name], special);
    const turns: Conversation = [
      { role: 'user', content: 'One' },
      { role: 'assistant', content: 'Two' },
    ];
    expect(template.render([system('S1 '), system('S2'), ...turns])).toBe(text);
    expect(template.render([system('S1\n\nS2'), ...turns])).toBe(text);
    const later = [...turns, system('S'), ...turns];
    expect(() => template.render(later)).toThrow(
      'message 3 has the role system, expected system messages first',
    );
    expect(() => template.render([...turns, { role: 'tool', content: 'T' }])).toThrow(
      'message 3 has the role tool',
    );
    // Without a question there is no turn for the system message.
    if (name !== 'alpaca') expect(() => template.pieces([system('S'), turns[1]])).toThrow('omits message 1');
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
    [config(7), 'FOLDER/tokenizer_config.json', /contains no chat_template/],
    [{ 'tokenizer_config.json': '{' }, undefined, /tokenizer_config\.json: not JSON: /],
  ])('%j, %s is refused', (files, choice, message) => {
    expect(() => load(files, choice)).toThrow(TemplateError);
    expect(() => load(files, choice)).toThrow(message);
  });
});

it('special tokens have names, as strings or as objects', () => {
  const config = {
    bos_token: { content: '<s>', lstrip: false },
    pad_token: '<pad>',
    eos_token: null,
    model_max_length: 9,
  };
  const tokenizer = new Tokenizer(tinyTokenizer.json, config, 'test');
  expect(specialTokensOf(tokenizer)).toEqual({ bos_token: '<s>', pad_token: '<pad>' });
});
