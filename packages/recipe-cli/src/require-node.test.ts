import { afterEach, expect, it, vi } from 'vitest';
import { requireNode } from './require-node.ts';

afterEach(() => vi.restoreAllMocks());

it.each([
  ['14.21.3', false],
  ['18.20.8', false],
  ['20.18.1', true],
  ['21.7.3', false],
  ['22.2.0', false],
])('ends in one line under Node %s', (node, hasFunction) => {
  const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
  const error = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  requireNode('meap-test', { versions: { node }, ...(hasFunction && { getBuiltinModule: () => {} }) });
  expect(exit).toHaveBeenCalledWith(1);
  expect(error.mock.calls).toEqual([
    [
      expect.stringMatching(
        new RegExp(`^meap-test: this Node.js is too old, got ${node}, expected 20.19 or later; .*$`),
      ),
    ],
  ]);
});

it.each(['20.19.0', '22.12.0', '24.1.0'])('lets Node %s run', (node) => {
  const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
  requireNode('meap-test', { versions: { node }, getBuiltinModule: () => {} });
  requireNode('meap-test');
  expect(exit).not.toHaveBeenCalled();
});
