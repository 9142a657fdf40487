import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it('from a name of the Hub to a pushed model and GGUF, the tokens stay equal', () => {
  const script = join(import.meta.dirname, 'round-trip.mjs');
  const { stdout, stderr, status } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(stdout.match(/^.*(?:equal|DIFFERENT|skipped).*$/gm)).toEqual([
    'by name      equal',
    'from GGUF    equal',
    'transformers skipped: no --python',
    'llama.cpp    skipped: no --python',
  ]);
  expect(status).toBe(0);
});
