import { withTools } from '@meap/token-dataset';
import { expect, it } from 'vitest';
import type { Message } from './formats.ts';
import { lastAnswerOnly, separateTurns } from './turns.ts';

const system: Message = { role: 'system', content: 'S' };
const user: Message = { role: 'user', content: 'Q' };
const answer: Message = { role: 'assistant', content: 'A' };
const call: Message = {
  role: 'assistant',
  content: '',
  tool_calls: [{ function: { name: 'f', arguments: {} } }],
};
const result: Message = { role: 'tool', content: '3' };
const tools = [{ type: 'function', function: { name: 'f' } }];

it('separateTurns keeps system messages and tools, and a call with its result and answer', () => {
  const turns = separateTurns(withTools([system, user, answer, user, call, result, answer, user], tools));
  expect(turns.map((turn) => [...turn])).toEqual([
    [system, user, answer],
    [system, user, call, result, answer],
  ]);
  expect(turns.map((turn) => turn.tools)).toEqual([tools, tools]);
  expect(separateTurns([user])).toEqual([[user]]);
});

it('lastAnswerOnly excludes earlier answers from the loss', () => {
  const conversation = lastAnswerOnly(withTools([user, call, result, answer, user, answer, user], tools));
  const excluded = conversation.flatMap(({ learn }, i) => (learn === undefined ? [] : [[i, learn]]));
  expect(excluded).toEqual([
    [1, false],
    [3, false],
  ]);
  expect(conversation.tools).toEqual(tools);
  // A last answer with learn: false stays excluded.
  expect(lastAnswerOnly([user, answer, user, { ...answer, learn: false }]).at(-1)!.learn).toBe(false);
});
