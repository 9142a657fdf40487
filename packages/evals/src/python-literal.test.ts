import { expect, it } from 'vitest';
import { pythonLiteral } from './python-literal.ts';

it("reads what Python's repr writes, and nothing else", () => {
  const text = `[{'q': "It's \\"x\\" \\\\ \\n\\x07é\\u2028", 'n': -1.5e3, 'ok': True}, (None, 'a',), []]`;
  expect(pythonLiteral(text)).toEqual([
    { q: 'It\'s "x" \\ \n\x07é\u2028', n: -1500, ok: true },
    [null, 'a'],
    [],
  ]);
  for (const other of ['', '[1', "['a' 'b']", 'f(1)', '[1] 2', '{1}', '{"a": }', '"open', '[,]']) {
    expect(pythonLiteral(other), other).toBeUndefined();
  }
});
