import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
import { ChatEncoder } from './chat-encoder.ts';
import { ChatTemplate, type Conversation, specialTokensOf } from './chat-template.ts';
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
  it('gives what the template writes by its ids, and ids of the tokenizer elsewhere', async () => {
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

  it('never parses what people write for special tokens, and loses nothing of it', async () => {
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
          // The special tokens are those of the template, whatever the messages say.
          expect([...ids].filter((id) => special.has(id))).toEqual([...own].filter((id) => special.has(id)));
          expect(await tokenizer.decode(ids)).toBe(
            encoder.template.render(messages, { addGenerationPrompt: true }),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('joins what stands on both sides of a boundary only if the template spells the whole token', async () => {
    const encoder = encoderOf("{% for m in messages %}{{ '</' + m.content + '</s>' }}{% endfor %}");
    const ids = await encoder.encodePrompt([{ role: 'user', content: 's>' }, chat[1]]);
    expect([...ids].filter((id) => id === 1)).toHaveLength(2);
  });

  it('says where contents and what ends them stand', async () => {
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

  it('a prompt is what the whole conversation begins with', async () => {
    for (const name of ['alpaca', 'llama-2', 'mistral']) {
      const encoder = encoderOf(BUILT_IN_TEMPLATES[name]);
      const prompt = await encoder.encodePrompt(chat.slice(0, 1));
      const [{ ids }] = await encoder.encodeConversations([chat]);
      expect(ids.subarray(0, prompt.length)).toEqual(prompt);
    }
  });

  it('knows the special token that ends answers, EOS where the template writes none', () => {
    const roles = '{% for m in messages %}{{ m.role + m.content }}';
    const masked = encoderOf(`${roles}{{ ' [MASK]' }}{% endfor %}`);
    expect(masked).toMatchObject({ endOfAnswerId: MASK, lacksEnd: false });
    const lacking = encoderOf(`${roles}{{ '\\n' }}{% endfor %}`);
    expect(lacking).toMatchObject({ endOfAnswerId: tokenizer.eosTokenId, lacksEnd: true });
  });

  it.each([
    [
      'chatml',
      BUILT_IN_TEMPLATES.chatml,
      'answers end with "<|im_end|>", expected a special token of the tokenizer',
    ],
    ['one without answers', '{{ messages[0].content }}', 'leaves out what user or assistant say'],
    ['one that cuts', '{% for m in messages %}{{ m.content[0] }}</s>{% endfor %}', 'changes the text'],
  ])('refuses a template that does not suit: %s', (_, source, message) => {
    expect(() => encoderOf(source)).toThrow(TemplateError);
    expect(() => encoderOf(source)).toThrow(message);
  });

  it('refuses a template without an end for a tokenizer without one', () => {
    const bare = new Tokenizer(tokenizer.json, {}, 'test');
    const template = new ChatTemplate('t', '{% for m in messages %}{{ m.content }}{% endfor %}', {});
    expect(() => new ChatEncoder(bare, template)).toThrow('nothing ends an answer');
  });
});

it('every built-in template is documented', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  for (const name of Object.keys(BUILT_IN_TEMPLATES)) expect(readme).toContain(`\`${name}\``);
});
