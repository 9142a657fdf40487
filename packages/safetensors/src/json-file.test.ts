import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SafetensorsError } from './error.ts';
import { readJsonFile } from './json-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'meap-json-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'config.json');

describe('readJsonFile', () => {
  it('reads JSON', () => {
    writeFileSync(path, '{"a": [1]}');
    expect(readJsonFile(path)).toEqual({ a: [1] });
  });

  it('refuses files that are too large, not regular or not JSON, and names them', () => {
    for (const text of ['', '{', '\0'.repeat(9), '['.repeat(1e6)]) {
      writeFileSync(path, text);
      expect(() => readJsonFile(path)).toThrow(/config\.json: cannot be read as JSON: /);
    }
    truncateSync(path, 2 ** 40);
    expect(() => readJsonFile(path)).toThrow(
      /config\.json: cannot be read as JSON: got 1099511627776 bytes, expected at most 4194304/,
    );
    for (const target of ['/dev/zero', folder]) {
      rmSync(path, { force: true });
      symlinkSync(target, path);
      expect(() => readJsonFile(path)).toThrow(SafetensorsError);
      expect(() => readJsonFile(path)).toThrow(/: not a regular file/);
    }
    rmSync(path);
    expect(() => readJsonFile(path)).toThrow(/ENOENT/);
  });
});
