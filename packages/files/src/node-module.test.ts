import { expect, test, vi } from 'vitest';
import { nodeModule } from './node-module.ts';

test('loads a module of Node', () => {
  expect(nodeModule<typeof import('node:path')>('node:path').basename('a/b')).toBe('b');
});

test('fails on use, not on load, where there is no Node', () => {
  vi.stubGlobal('process', undefined);
  try {
    const fs = nodeModule<typeof import('node:fs')>('node:fs', () => new RangeError('no files here'));
    expect(() => fs.existsSync('a')).toThrow(RangeError);
  } finally {
    vi.unstubAllGlobals();
  }
});
