import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findWorker } from './find-worker.ts';
import { packageFolder } from './package-folder.ts';

let folder: string;
beforeAll(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'meap-find-worker-')), 'src/package');
  mkdirSync(join(folder, 'dist/server'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{}');
  writeFileSync(join(folder, 'dist/server/worker.js'), '');
});
afterAll(() => rmSync(join(folder, '../..'), { recursive: true, force: true }));

test.each(['dist/chunk.js', 'dist/server/x.js', 'src/server/x.ts'])(
  'finds the built file from %s',
  (caller) => {
    const moduleUrl = pathToFileURL(join(folder, caller)).href;
    expect(packageFolder(moduleUrl)).toBe(folder);
    expect(findWorker('server/worker.js', moduleUrl)).toBe(join(folder, 'dist/server/worker.js'));
    expect(findWorker('worker.js', moduleUrl)).toBeUndefined();
  },
);

test('a module outside a package is named', () => {
  expect(() => packageFolder(pathToFileURL('/no-package/dist/cli.js').href)).toThrow(
    /no package\.json in a folder above file:.*no-package\/dist\/cli\.js/,
  );
});
