import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { changedFiles, describeRepeated, writeFileList } from './data-files.ts';

let out: string;
beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), 'data-files-'));
});
afterEach(() => rmSync(out, { recursive: true }));

const file = (path: string, size: number, sha256 = `${size}`) => ({ path, size, sha256 });

describe('changedFiles', () => {
  it('names changed, missing and new files', () => {
    writeFileList(out, [file('a', 1000), file('b', 2), file('c', 3), file('d', 4)]);
    const now = [file('a', 1200), file('c', 3), file('d', 4, 'other'), file('e', 5)];
    expect(changedFiles(out, now)).toEqual([
      'a: 1,000 bytes → 1,200 bytes',
      'b: 2 bytes → missing',
      'd: 4 bytes → 4 bytes, different content',
      'e: missing → 5 bytes',
    ]);
  });

  it('counts skipped files', () => {
    expect(describeRepeated(['a'])).toBe('data: 1 file skipped, already read under another name: a');
    expect(describeRepeated(['a', 'b'])).toMatch(/^data: 2 files skipped, .*: a, …$/);
  });

  it('is empty if nothing changed or there is no valid list', () => {
    expect(changedFiles(out, [file('a', 1)])).toEqual([]);
    writeFileList(out, [file('a', 1), file('b', 2)]);
    expect(changedFiles(out, [file('a', 1), file('b', 2)])).toEqual([]);
    expect(changedFiles(out, [file('b', 2), file('a', 1)])).toEqual(['the order of the files']);
    for (const text of ['{"a":', '\0\0', '[null]', '[1]', '[{"path":1,"size":1,"sha256":"a"}]']) {
      writeFileSync(join(out, 'data-files.json'), text);
      expect(changedFiles(out, [file('a', 1)])).toEqual([]);
    }
  });
});
