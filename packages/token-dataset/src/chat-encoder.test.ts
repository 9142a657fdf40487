import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
import { ChatEncoder } from './chat-encoder.ts';
import { ChatTemplate, specialTokensOf } from './chat-template.ts';
import type { Conversation } from './conversation.ts';
import { TemplateError } from './errors.ts';
import { tinyTokenizer as tokenizer } from './testing.ts';
import { Tokenizer } from './tokenizer.ts';

const MASK = 500;
const encoderOf = (source: string) =>
  new ChatEncoder(tokenizer, new ChatTemplate('t', source, specialTokensOf(tokenizer)));
const special = new Set(encoderOf(BUILT_IN_TEMPLATES.alpaca).specialIds);

const chat: Conversation = [
  { role: 'user', content: 'What does the captain see?' },
  { role: 'assistant', content: 'The whale' },
];

describe('ChatEncoder', () => {
  it('parses special tokens of the template and uses the ids of the tokenizer elsewhere', async () => {
    const plain = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
    const ids = await encoderOf(BUILT_IN_TEMPLATES.alpaca).encodePrompt([...chat, chat[0]]);
    const question = '### Instruction:\nWhat does the captain see?\n\n### Response:\n';
    expect([...ids]).toEqual([
      0,
      ...(await plain(`${question}The whale`)),
      1,
      ...(await plain(`\n\n${question}`)),
    ]);
  });

  it('never parses contents for special tokens, and keeps all of them', async () => {
    const parts = fc.constantFrom(
      '</s>',
      '<s>',
      '[MASK]',
      '<',
      '/s>',
      '### Response:\n',
      'a',
      ' ',
      '😀',
      '\ufdd0',
    );
    const content = fc.array(parts, { maxLength: 8 }).map((texts) => texts.join(''));
    await fc.assert(
      fc.asyncProperty(
        content,
        content,
        fc.constantFrom('alpaca', 'llama-2', 'mistral'),
        async (q, a, name) => {
          const encoder = encoderOf(BUILT_IN_TEMPLATES[name]);
          const messages = [
            chat[0],
            { role: 'assistant', content: a },
            { role: 'user', content: q },
          ] as const;
          const ids = await encoder.encodePrompt(messages);
          const own = await encoder.encodePrompt(messages.map(({ role }) => ({ role, content: 'x' })));
          // All special tokens come from the template, none from the messages.
          expect([...ids].filter((id) => special.has(id))).toEqual([...own].filter((id) => special.has(id)));
          expect(await tokenizer.decode(ids)).toBe(
            encoder.template.render(messages, { addGenerationPrompt: true }),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('joins text on both sides of a boundary only if the template spells the whole token', async () => {
    const encoder = encoderOf("{% for m in messages %}{{ '</' + m.content + '</s>' }}{% endfor %}");
    const ids = await encoder.encodePrompt([{ role: 'user', content: 's>' }, chat[1]]);
    expect([...ids].filter((id) => id === 1)).toHaveLength(2);
  });

  it('returns the ranges of contents with the tokens that end them', async () => {
    const encoder = encoderOf(BUILT_IN_TEMPLATES.alpaca);
    const [{ ids, starts, ends, spans }] = await encoder.encodeConversations([chat]);
    const text = encoder.template.render(chat);
    expect(spans.map(({ start, end, message }) => [text.slice(start, end), message])).toEqual([
      ['What does the captain see?', 0],
      ['The whale</s>', 1],
    ]);
    const answer = [...ids].filter((_, i) => starts[i] >= spans[1].start && ends[i] <= spans[1].end);
    expect(await tokenizer.decode(answer)).toBe('The whale</s>');
  });

  it('a prompt is the start of the whole conversation', async () => {
    for (const name of ['alpaca', 'llama-2', 'mistral']) {
      const encoder = encoderOf(BUILT_IN_TEMPLATES[name]);
      const prompt = await encoder.encodePrompt(chat.slice(0, 1));
      const [{ ids }] = await encoder.encodeConversations([chat]);
      expect(ids.subarray(0, prompt.length)).toEqual(prompt);
    }
  });

  it('finds the special token that ends answers, EOS if the template writes none', () => {
    const roles = '{% for m in messages %}{{ m.role + m.content }}';
    const masked = encoderOf(`${roles}{{ ' [MASK]' }}{% endfor %}`);
    expect(masked).toMatchObject({ endOfAnswerId: MASK, lacksEnd: false });
    const lacking = encoderOf(`${roles}{{ '\\n' }}{% endfor %}`);
    expect(lacking).toMatchObject({ endOfAnswerId: tokenizer.eosTokenId, lacksEnd: true });
  });

  describe('the range of an answer', () => {
    /** Texts of the spans, by message. */
    async function spansOf(source: string, messages: Conversation) {
      const encoder = encoderOf(source);
      const [{ spans }] = await encoder.encodeConversations([messages]);
      const text = encoder.template.render(messages);
      return spans.map(({ start, end, message }) => [message, text.slice(start, end)]);
    }

    it('includes white space that the template keeps, and the end token', async () => {
      const source =
        "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content | trim + ' [/INST] ' }}" +
        '{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}';
      const messages: Conversation = [
        { role: 'user', content: 'Hi ' },
        { role: 'assistant', content: 'Red.\n' },
      ];
      expect(await spansOf(source, messages)).toEqual([
        [0, 'Hi'],
        [1, 'Red.\n</s>'],
      ]);
    });

    it('is what {% generation %} marks, if a template has it', async () => {
      const source =
        "{% for m in messages %}\n  {%- if m.role == 'assistant' %}\n    {{- 'A: ' }}\n    {%- generation %}\n" +
        "    {{- m.content + '!' + eos_token }}\n    {%- endgeneration %}\n  {%- else %}{{ 'U: ' + m.content }}{% endif %}\n{% endfor %}";
      expect(encoderOf(source).template.render(chat)).toBe('U: What does the captain see?A: The whale!</s>');
      expect(await spansOf(source, [...chat, ...chat])).toEqual([
        [0, chat[0].content],
        [1, 'The whale!</s>'],
        [2, chat[0].content],
        [3, 'The whale!</s>'],
      ]);
    });

    const TOOLS =
      "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'A: ' }}{% if m.reasoning_content and loop.last %}" +
      "{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}" +
      "{{ 'call ' + (c.function | tojson) }}{% endfor %}{{ eos_token + '\\n' }}{% else %}{{ m.role + ': ' + m.content + '\\n' }}" +
      "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'A: ' }}{% endif %}";
    const calling = (name: string): Conversation => [
      chat[0],
      { role: 'assistant', content: '', tool_calls: [{ function: { name, arguments: { at: 'sea' } } }] },
      { role: 'tool', content: 'whale', tool_call_id: '1' },
      { role: 'assistant', content: 'The whale', reasoning_content: 'It spouts.' },
    ];

    it('includes reasoning and tool calls, from the end of the header', async () => {
      expect((await spansOf(TOOLS, calling('look'))).filter(([message]) => message !== 0)).toEqual([
        [1, 'call {"name": "look", "arguments": {"at": "sea"}}</s>'],
        [2, 'whale'],
        [3, '<think>It spouts.</think>The whale</s>'],
      ]);
    });

    it('may lack reasoning of earlier turns only without training on it', async () => {
      const messages: Conversation = [...calling('look'), ...chat];
      await expect(spansOf(TOOLS, messages)).rejects.toThrow('omits reasoning_content of message 4 of 6');
      const read = messages.map((message, i) => (i === 3 ? { ...message, learn: false } : message));
      expect((await spansOf(TOOLS, read)).slice(3)).toEqual([
        [3, 'The whale</s>'],
        [4, chat[0].content],
        [5, 'The whale</s>'],
      ]);
      expect(await encoderOf(TOOLS).encodePrompt(messages.slice(0, 5))).toBeDefined();
    });

    it('never includes special tokens spelled by calls, tools or names', async () => {
      const encoder = encoderOf(TOOLS);
      await expect(encoder.encodeConversations([calling('</s>')])).rejects.toThrow(
        'tool calls spell the special token </s>, expected none',
      );
      const named: Conversation = [{ ...chat[0], name: '<s>' }, chat[1]];
      await expect(encoder.encodePrompt(named)).rejects.toThrow('spell the special token <s>');
    });
  });

  it.each([
    [
      'chatml',
      BUILT_IN_TEMPLATES.chatml,
      'answers end with "<|im_end|>", expected a special token of the tokenizer',
    ],
    ['one without answers', '{{ messages[0].content }}', 'omits message 2 of 2 (role assistant)'],
    ['one that cuts', '{% for m in messages %}{{ m.content[0] }}</s>{% endfor %}', 'changes the text'],
  ])('refuses a template that does not suit: %s', (_, source, message) => {
    expect(() => encoderOf(source)).toThrow(TemplateError);
    expect(() => encoderOf(source)).toThrow(message);
  });

  it('refuses a template without an end for a tokenizer without EOS', () => {
    const bare = new Tokenizer(tokenizer.json, {}, 'test');
    const template = new ChatTemplate('t', '{% for m in messages %}{{ m.content }}{% endfor %}', {});
    expect(() => new ChatEncoder(bare, template)).toThrow('nothing ends an answer');
  });
});

it('every built-in template is documented', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  for (const name of Object.keys(BUILT_IN_TEMPLATES)) expect(readme).toContain(`\`${name}\``);
});
