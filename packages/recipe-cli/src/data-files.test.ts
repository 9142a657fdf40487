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
  it('names what changed, what is gone and what is new', () => {
    writeFileList(out, [file('a', 1000), file('b', 2), file('c', 3), file('d', 4)]);
    const now = [file('a', 1200), file('c', 3), file('d', 4, 'other'), file('e', 5)];
    expect(changedFiles(out, now)).toEqual([
      'a: 1,000 bytes → 1,200 bytes',
      'b: 2 bytes → not there',
      'd: 4 bytes → 4 bytes, with another content',
      'e: not there → 5 bytes',
    ]);
  });

  it('tells how many files were left out', () => {
    expect(describeRepeated(['a'])).toBe('data: 1 file is left out, being read already by another name: a');
    expect(describeRepeated(['a', 'b'])).toMatch(/^data: 2 files are left out, .*: a, …$/);
  });

  it('is empty where nothing changed, nothing is known, or what is there is no list', () => {
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
