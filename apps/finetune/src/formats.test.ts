import { describe, expect, it } from 'vitest';
import { recogniseFormat, renameFields, toConversation } from './formats.ts';

const said = (user: string, assistant: string) => [
  { role: 'user', content: user },
  { role: 'assistant', content: assistant },
];

describe('the shapes in which data are published', () => {
  it.each([
    ['alpaca', { instruction: 'Q', input: '', output: 'A' }, said('Q', 'A')],
    ['alpaca', { instruction: 'Q', input: 'I', output: 'A' }, said('Q\nI', 'A')],
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

  it('an instruction without an output is no alpaca', () => {
    expect(recogniseFormat({ instruction: 'Q', response: 'A' })).toBeUndefined();
  });

  it('fields have the names that the file gives them', () => {
    const named = renameFields({ question: 'Q', answer: 'A' }, { instruction: 'question', output: 'answer' });
    expect(toConversation(named, 'alpaca')).toEqual(said('Q', 'A'));
    expect(() => renameFields({ a: 1 }, { output: 'answer' })).toThrow('field answer is missing, got a');
  });
});
