import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChatDataError } from './errors.ts';
import { FORMATS, recogniseFormat, toConversation } from './formats.ts';

const said = (user: string, assistant: string) => [
  { role: 'user', content: user },
  { role: 'assistant', content: assistant },
];

describe('the shapes in which data are published', () => {
  it.each([
    ['alpaca', { instruction: 'Q', input: '', output: 'A' }, said('Q', 'A')],
    ['alpaca', { instruction: 'Q', input: 'I', output: 'A' }, said('Q\nI', 'A')],
    ['alpaca', { instruction: '', input: 'I', output: 'A' }, said('I', 'A')],
    [
      'alpaca',
      { instruction: 'Q', output: 'A', system: 'S' },
      [{ role: 'system', content: 'S' }, ...said('Q', 'A')],
    ],
    [
      'sharegpt',
      {
        conversations: [
          { from: 'human', value: 'Q' },
          { from: 'gpt', value: 'A' },
        ],
      },
      said('Q', 'A'),
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
      said('Q', 'A'),
    ],
    [
      'messages',
      { messages: [{ role: 'developer', content: 'S' }, ...said('Q', 'A')] },
      [{ role: 'system', content: 'S' }, ...said('Q', 'A')],
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
    ['prompt-completion', { prompt: 'Q', completion: 'A' }, said('Q', 'A')],
    ['prompt-completion', { prompt: 'Q', response: 'A' }, said('Q', 'A')],
    [
      'prompt-completion',
      { prompt: [{ role: 'user', content: 'Q' }], completion: [{ role: 'assistant', content: 'A' }] },
      said('Q', 'A'),
    ],
  ] as const)('%s: %j', (format, record, conversation) => {
    expect(recogniseFormat(record)).toBe(format);
    expect(toConversation(record, format)).toEqual(conversation);
  });

  it.each([
    ['a question and its answer', { question: 'Q', answer: 'A' }, 'prompt-completion', said('Q', 'A')],
    ['about a text', { question: 'Q', context: 'C', answer: 'A' }, 'prompt-completion', said('Q\nC', 'A')],
    ['input and output', { input: 'Q', output: 'A' }, 'prompt-completion', said('Q', 'A')],
    ['input about a text', { input: 'Q', context: 'C', output: 'A' }, 'prompt-completion', said('Q\nC', 'A')],
    [
      'Dolly’s',
      { instruction: 'Q', context: 'C', response: 'A', category: 'x' },
      'alpaca',
      said('Q\nC', 'A'),
    ],
    [
      'OpenOrca’s',
      { id: 1, system_prompt: '', question: 'Q', response: 'A' },
      'prompt-completion',
      said('Q', 'A'),
    ],
    [
      'an input that looks empty',
      { instruction: 'Sort', input: '[]', output: '[]' },
      'alpaca',
      said('Sort\n[]', '[]'),
    ],
    [
      'messages in CSV',
      { messages: JSON.stringify(said('Q', 'A')), tools: '', system: '' },
      'messages',
      said('Q', 'A'),
    ],
  ] as const)('recognises %s', (_, record, format, conversation) => {
    expect(recogniseFormat(record)).toBe(format);
    expect(toConversation(record, format)).toEqual(conversation);
  });

  it.each([{ text: 'x' }, { instruction: 'Q' }, { answer: 'A' }, { prompt: 'Q', chosen: 'A' }])(
    'recognises nothing in %j',
    (record) => {
      expect(recogniseFormat(record)).toBeUndefined();
    },
  );
});

describe('nothing that a record says is lost', () => {
  it('history becomes earlier turns', () => {
    const record = { instruction: 'Q', output: 'A', history: [['Q0', 'A0']], system: 'S' };
    const whole = [{ role: 'system', content: 'S' }, ...said('Q0', 'A0'), ...said('Q', 'A')];
    expect(toConversation(record, 'alpaca')).toEqual(whole);
    expect(toConversation({ ...record, history: '[["Q0", "A0"]]' }, 'alpaca')).toEqual(whole);
    const { instruction: prompt, output: response, ...rest } = record;
    expect(toConversation({ prompt, response, ...rest }, 'prompt-completion')).toEqual(whole);
    expect(() => toConversation({ ...record, history: [['Q0']] }, 'alpaca')).toThrow(
      'history[0]: got ["Q0"], expected two texts, [question, answer]',
    );
  });

  it('a system message beside the messages is joined with theirs', () => {
    const system = (content: string) => ({ role: 'system', content });
    for (const key of ['system', 'system_prompt', 'system_message']) {
      expect(toConversation({ [key]: 'S', messages: said('Q', 'A') }, 'messages')).toEqual([
        system('S'),
        ...said('Q', 'A'),
      ]);
      const both = { [key]: 'S', messages: [system('T'), ...said('Q', 'A')] };
      expect(toConversation(both, 'messages')[0]).toEqual(system('S\n\nT'));
    }
    const twice = { system: 'S', messages: [system('S'), ...said('Q', 'A')] };
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

  it('answers of a prompt are read only', () => {
    const prompt = [...said('Q0', 'A0'), { role: 'user', content: 'Q' }];
    const conversation = toConversation({ prompt, completion: said('', 'A').slice(1) }, 'prompt-completion');
    expect(conversation.map(({ learn }) => learn)).toEqual([undefined, false, undefined, undefined]);
  });

  it('tools, calls and reasoning reach the template', () => {
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

    // The same as OpenAI's former API and as ShareGPT have it.
    const { id: _, ...plain } = parsed;
    const former = { role: 'assistant', content: null, function_call: call.function };
    expect(toConversation({ functions: [described], messages: [former] }, 'messages').tools).toEqual([tool]);
    expect(toConversation({ messages: [former] }, 'messages')[0].tool_calls).toEqual([plain]);
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

  it.each(['', ' ', '[]', 'null', [], {}, null])('tools: %j are none', (tools) => {
    expect(
      toConversation({ messages: said('Q', 'A'), tools, images: tools }, 'messages').tools,
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
      { messages: said('Q', 'A'), history: [['a', 'b']] },
      'history: got [["a","b"]], expected none',
    ],
    ['messages', { messages: said('Q', 'A'), conversations: said('Q', 'A') }, 'conversations: got'],
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

  it('but what data.ignore_fields names', () => {
    const record = { messages: [{ role: 'assistant', content: 'A', refusal: 'No.' }], rejected: 'B' };
    expect(toConversation(record, 'messages', { ignore: ['rejected', 'refusal'] })).toEqual([
      { role: 'assistant', content: 'A' },
    ]);
  });
});

it('any record gives messages or a reason', () => {
  const keys = [
    'role',
    'from',
    'content',
    'value',
    'weight',
    'train',
    'tool_calls',
    'function_call',
    'function',
    'name',
  ];
  const leaf = fc.oneof(
    fc.constantFrom('user', 'gpt', 'function_call', '[]', '{"name":"f"}', '', 0, 1, null),
    fc.jsonValue(),
  );
  const message = fc.dictionary(fc.constantFrom(...keys), leaf);
  const value = fc.oneof(leaf, fc.array(message, { maxLength: 3 }), message);
  const top = [
    'messages',
    'conversations',
    'instruction',
    'prompt',
    'input',
    'output',
    'response',
    'history',
    'system',
    'tools',
  ];
  const record = fc.dictionary(fc.constantFrom(...top, 'weight', 'label', 'images', '__proto__'), value);
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
    { numRuns: 2000 },
  );
});

describe('fields have the names that the file gives them', () => {
  it.each([
    [
      { instruction: 'question', output: 'answer' },
      { question: 'Q', answer: 'A' },
    ],
    // An optional field that a record lacks, and names that change places.
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
    expect(toConversation(record, 'alpaca', { fields })).toEqual(said('Q', 'A'));
  });

  it('in messages too', () => {
    const record = {
      turns: [
        { speaker: 'human', text: 'Q' },
        { speaker: 'gpt', text: 'A' },
      ],
    };
    const fields = { conversations: 'turns', from: 'speaker', value: 'text' };
    expect(toConversation(record, 'sharegpt', { fields })).toEqual(said('Q', 'A'));
  });
});
