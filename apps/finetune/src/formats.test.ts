import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChatDataError } from './errors.ts';
import { FORMATS, recogniseFormat, toConversation } from './formats.ts';

const turn = (user: string, assistant: string) => [
  { role: 'user', content: user },
  { role: 'assistant', content: assistant },
];

describe('record formats', () => {
  it.each([
    ['alpaca', { instruction: 'Q', input: '', output: 'A' }, turn('Q', 'A')],
    ['alpaca', { instruction: 'Q', input: 'I', output: 'A' }, turn('Q\nI', 'A')],
    ['alpaca', { instruction: '', input: 'I', output: 'A' }, turn('I', 'A')],
    [
      'alpaca',
      { instruction: 'Q', output: 'A', system: 'S' },
      [{ role: 'system', content: 'S' }, ...turn('Q', 'A')],
    ],
    [
      'sharegpt',
      {
        conversations: [
          { from: 'human', value: 'Q' },
          { from: 'gpt', value: 'A' },
        ],
      },
      turn('Q', 'A'),
    ],
    [
      'sharegpt',
      {
        system: '',
        conversations: [
          { role: 'user', content: 'Q' },
          { role: 'assistant', content: 'A' },
        ],
      },
      turn('Q', 'A'),
    ],
    [
      'messages',
      { messages: [{ role: 'developer', content: 'S' }, ...turn('Q', 'A')] },
      [{ role: 'system', content: 'S' }, ...turn('Q', 'A')],
    ],
    [
      'messages',
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Q' },
              { type: 'text', text: '!' },
            ],
          },
        ],
        tools: [],
      },
      [{ role: 'user', content: 'Q!' }],
    ],
    [
      'messages',
      { messages: [{ role: 'assistant', content: 'A', weight: 0, tool_calls: null }] },
      [{ role: 'assistant', content: 'A', learn: false }],
    ],
    ['prompt-completion', { prompt: 'Q', completion: 'A' }, turn('Q', 'A')],
    ['prompt-completion', { prompt: 'Q', response: 'A' }, turn('Q', 'A')],
    [
      'prompt-completion',
      { prompt: [{ role: 'user', content: 'Q' }], completion: [{ role: 'assistant', content: 'A' }] },
      turn('Q', 'A'),
    ],
  ] as const)('%s: %j', (format, record, conversation) => {
    expect(recogniseFormat(record)).toBe(format);
    expect(toConversation(record, format)).toEqual(conversation);
  });

  it.each([
    ['a question and its answer', { question: 'Q', answer: 'A' }, 'prompt-completion', turn('Q', 'A')],
    [
      'a question with a context',
      { question: 'Q', context: 'C', answer: 'A' },
      'prompt-completion',
      turn('Q\nC', 'A'),
    ],
    ['input and output', { input: 'Q', output: 'A' }, 'prompt-completion', turn('Q', 'A')],
    [
      'input with a context',
      { input: 'Q', context: 'C', output: 'A' },
      'prompt-completion',
      turn('Q\nC', 'A'),
    ],
    [
      'Dolly’s',
      { instruction: 'Q', context: 'C', response: 'A', category: 'x' },
      'alpaca',
      turn('Q\nC', 'A'),
    ],
    [
      'OpenOrca’s',
      { id: 1, system_prompt: '', question: 'Q', response: 'A' },
      'prompt-completion',
      turn('Q', 'A'),
    ],
    [
      'an input that looks empty',
      { instruction: 'Sort', input: '[]', output: '[]' },
      'alpaca',
      turn('Sort\n[]', '[]'),
    ],
    [
      'messages in CSV',
      { messages: JSON.stringify(turn('Q', 'A')), tools: '', system: '' },
      'messages',
      turn('Q', 'A'),
    ],
  ] as const)('detects %s', (_, record, format, conversation) => {
    expect(recogniseFormat(record)).toBe(format);
    expect(toConversation(record, format)).toEqual(conversation);
  });

  it.each([{ text: 'x' }, { instruction: 'Q' }, { answer: 'A' }, { prompt: 'Q', chosen: 'A' }])(
    'detects no format in %j',
    (record) => {
      expect(recogniseFormat(record)).toBeUndefined();
    },
  );
});

describe('fields of a record', () => {
  it('convert history into earlier turns', () => {
    const record = { instruction: 'Q', output: 'A', history: [['Q0', 'A0']], system: 'S' };
    const whole = [{ role: 'system', content: 'S' }, ...turn('Q0', 'A0'), ...turn('Q', 'A')];
    expect(toConversation(record, 'alpaca')).toEqual(whole);
    expect(toConversation({ ...record, history: '[["Q0", "A0"]]' }, 'alpaca')).toEqual(whole);
    const { instruction: prompt, output: response, ...rest } = record;
    expect(toConversation({ prompt, response, ...rest }, 'prompt-completion')).toEqual(whole);
    expect(() => toConversation({ ...record, history: [['Q0']] }, 'alpaca')).toThrow(
      'history[0]: got ["Q0"], expected two texts, [question, answer]',
    );
  });

  it('prepend a separate system message to that of the messages', () => {
    const system = (content: string) => ({ role: 'system', content });
    for (const key of ['system', 'system_prompt', 'system_message']) {
      expect(toConversation({ [key]: 'S', messages: turn('Q', 'A') }, 'messages')).toEqual([
        system('S'),
        ...turn('Q', 'A'),
      ]);
      const both = { [key]: 'S', messages: [system('T'), ...turn('Q', 'A')] };
      expect(toConversation(both, 'messages')[0]).toEqual(system('S\n\nT'));
    }
    const twice = { system: 'S', messages: [system('S'), ...turn('Q', 'A')] };
    expect(toConversation(twice, 'messages')[0]).toEqual(system('S'));
  });

  it.each([
    [{ weight: 0 }, false],
    [{ weight: 1 }, undefined],
    [{ train: false }, false],
    [{ train: true }, true],
    [{ loss: 0 }, false],
    [{ weight: 0, train: false }, false],
    [{ weight: null, train: null }, undefined],
  ])('%j of a message: learn is %s', (flags, learn) => {
    const [message] = toConversation(
      { messages: [{ role: 'assistant', content: 'A', ...flags }] },
      'messages',
    );
    expect(message).toEqual({ role: 'assistant', content: 'A', ...(learn !== undefined && { learn }) });
  });

  it('exclude answers in a prompt from the loss', () => {
    const prompt = [...turn('Q0', 'A0'), { role: 'user', content: 'Q' }];
    const conversation = toConversation({ prompt, completion: turn('', 'A').slice(1) }, 'prompt-completion');
    expect(conversation.map(({ learn }) => learn)).toEqual([undefined, false, undefined, undefined]);
  });

  it('pass tools, calls and reasoning to the template', () => {
    const described = { name: 'weather', parameters: { type: 'object' } };
    const tool = { type: 'function', function: described };
    const call = { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city": "Oslo"}' } };
    const parsed = { ...call, function: { name: 'weather', arguments: { city: 'Oslo' } } };
    const conversation = toConversation(
      {
        tools: [tool],
        messages: [
          { role: 'user', content: 'Q' },
          { role: 'assistant', content: null, tool_calls: [call] },
          { role: 'tool', content: '3 °C', tool_call_id: 'c1', name: 'weather' },
          { role: 'assistant', content: 'Cold.', reasoning_content: 'Three is cold.' },
        ],
      },
      'messages',
    );
    expect([...conversation]).toEqual([
      { role: 'user', content: 'Q' },
      { role: 'assistant', content: '', tool_calls: [parsed] },
      { role: 'tool', content: '3 °C', tool_call_id: 'c1', name: 'weather' },
      { role: 'assistant', content: 'Cold.', reasoning_content: 'Three is cold.' },
    ]);
    expect(conversation.tools).toEqual([tool]);

    // The same in OpenAI's deprecated API and in ShareGPT.
    const { id: _, ...plain } = parsed;
    const deprecated = { role: 'assistant', content: null, function_call: call.function };
    expect(toConversation({ functions: [described], messages: [deprecated] }, 'messages').tools).toEqual([
      tool,
    ]);
    expect(toConversation({ messages: [deprecated] }, 'messages')[0].tool_calls).toEqual([plain]);
    const shared = toConversation(
      {
        tools: JSON.stringify([described]),
        conversations: [
          { from: 'function_call', value: JSON.stringify(plain.function) },
          { from: 'observation', value: '3 °C' },
        ],
      },
      'sharegpt',
    );
    expect([...shared]).toEqual([
      { role: 'assistant', content: '', tool_calls: [plain] },
      { role: 'tool', content: '3 °C' },
    ]);
    expect(shared.tools).toEqual([tool]);
  });

  it.each(['', ' ', '[]', 'null', [], {}, null])('tools: %j are empty', (tools) => {
    expect(
      toConversation({ messages: turn('Q', 'A'), tools, images: tools }, 'messages').tools,
    ).toBeUndefined();
  });

  const images = [{ type: 'image_url' }];
  it.each([
    ['alpaca', { instruction: 'Q', output: 'A', images: ['a.png'] }, 'images: got ["a.png"], expected none'],
    [
      'alpaca',
      { instruction: 'Q', output: 'A', response: 'B' },
      'got both output and response, expected one',
    ],
    ['alpaca', { instruction: 'Q', prompt: 'P', output: 'A' }, 'got both instruction and prompt'],
    [
      'prompt-completion',
      { prompt: 'Q', completion: 'A', rejected: 'B' },
      'rejected: got "B", expected none',
    ],
    ['prompt-completion', { prompt: 'Q', completion: 'A', label: false }, 'label: got false, expected none'],
    [
      'prompt-completion',
      { prompt: 'Q', completion: 'A', weight: 0.5 },
      'weight: got 0.5 for a whole record',
    ],
    [
      'messages',
      { messages: turn('Q', 'A'), history: [['a', 'b']] },
      'history: got [["a","b"]], expected none',
    ],
    ['messages', { messages: turn('Q', 'A'), conversations: turn('Q', 'A') }, 'conversations: got'],
    ['messages', { messages: [{ role: 'user', content: images }] }, 'messages[0].content: got the part'],
    [
      'messages',
      { messages: [{ role: 'assistant', content: null, refusal: 'No.' }] },
      'messages[0].refusal: got',
    ],
    [
      'messages',
      { messages: [{ role: 'user', content: 'Q', value: 'V' }] },
      'messages[0]: got both content and value',
    ],
    [
      'messages',
      { messages: [{ role: 'user', content: 'Q', reasoning_content: 'R' }] },
      'expected it from an assistant',
    ],
    [
      'messages',
      { messages: [{ role: 'user', content: 'Q', weight: 0.5 }] },
      'messages[0].weight: got 0.5, expected 0',
    ],
    [
      'messages',
      { messages: [{ role: 'user', content: 'Q', train: true, loss: 0 }] },
      'train and loss that differ',
    ],
    [
      'sharegpt',
      { conversations: [{ from: 'function_call', value: 'x' }] },
      'conversations[0].value: got "x", expected JSON',
    ],
  ] as const)('%s refuses %j', (format, record, message) => {
    expect(() => toConversation(record, format)).toThrow(message);
  });

  it('are removed by data.ignore_fields', () => {
    const record = { messages: [{ role: 'assistant', content: 'A', refusal: 'No.' }], rejected: 'B' };
    expect(toConversation(record, 'messages', { ignore: ['rejected', 'refusal'] })).toEqual([
      { role: 'assistant', content: 'A' },
    ]);
  });
});

it('any record gives messages or a one-line error', () => {
  const keys = ['role', 'from', 'content', 'value', 'weight', 'train'];
  const toolKeys = ['tool_calls', 'function_call', 'function', 'name'];
  const leaf = fc.oneof(
    fc.constantFrom('user', 'gpt', 'function_call', '[]', '{"name":"f"}', '', 0, 1, null),
    fc.jsonValue(),
  );
  const message = fc.dictionary(fc.constantFrom(...keys, ...toolKeys), leaf);
  const value = fc.oneof(leaf, fc.array(message, { maxLength: 3 }), message);
  const texts = ['instruction', 'prompt', 'input', 'output', 'response', 'system'];
  const lists = ['messages', 'conversations', 'history', 'tools'];
  const others = ['weight', 'label', 'images', '__proto__'];
  const record = fc.dictionary(fc.constantFrom(...texts, ...lists, ...others), value);
  fc.assert(
    fc.property(record, fc.constantFrom(...FORMATS), (given, format) => {
      try {
        recogniseFormat(given);
        for (const { role, content } of toConversation(given, format)) {
          expect(['system', 'user', 'assistant', 'tool']).toContain(role);
          expect(typeof content).toBe('string');
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ChatDataError);
        expect((error as Error).message).not.toContain('\n');
      }
    }),
    { numRuns: 500 },
  );
});

describe('data.fields renames fields', () => {
  it.each([
    [
      { instruction: 'question', output: 'answer' },
      { question: 'Q', answer: 'A' },
    ],
    // An optional field that a record lacks, and swapped names.
    [
      { instruction: 'q', output: 'a', input: 'about' },
      { q: 'Q', a: 'A' },
    ],
    [
      { instruction: 'output', output: 'instruction' },
      { output: 'Q', instruction: 'A' },
    ],
    [{ output: 'answer' }, { instruction: 'Q', answer: 'A', response: '' }],
    [{ output: 'output' }, { instruction: 'Q', output: 'A', response: 'B' }],
    [
      { instruction: 'data.q', output: 'a.b' },
      { data: { q: 'Q' }, 'a.b': 'A' },
    ],
  ])('%j', (fields, record) => {
    expect(toConversation(record, 'alpaca', { fields })).toEqual(turn('Q', 'A'));
  });

  it('of messages too', () => {
    const record = {
      turns: [
        { speaker: 'human', text: 'Q' },
        { speaker: 'gpt', text: 'A' },
      ],
    };
    const fields = { conversations: 'turns', from: 'speaker', value: 'text' };
    expect(toConversation(record, 'sharegpt', { fields })).toEqual(turn('Q', 'A'));
  });
});
