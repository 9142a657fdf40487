import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findWorker } from './find-worker.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-find-worker-'));
  mkdirSync(join(folder, 'src/package/dist/server'), { recursive: true });
  writeFileSync(join(folder, 'src/package/dist/server/worker.js'), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(['src/package/dist/server/x.js', 'src/package/src/server/x.ts'])(
  'finds the built file from %s',
  (caller) => {
    const moduleUrl = pathToFileURL(join(folder, caller)).href;
    expect(findWorker('./worker.js', moduleUrl)).toBe(join(folder, 'src/package/dist/server/worker.js'));
    expect(findWorker('./other.js', moduleUrl)).toBeUndefined();
  },
);
