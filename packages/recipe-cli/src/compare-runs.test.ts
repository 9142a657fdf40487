import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hashFiles, readExactMetrics } from './compare-runs.ts';

const folder = mkdtempSync(join(tmpdir(), 'compare-runs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('comparing runs', () => {
  it('hashes files by path, so that equal names in two folders are distinct', () => {
    mkdirSync(join(folder, 'files/inner'), { recursive: true });
    writeFileSync(join(folder, 'files/a'), '');
    writeFileSync(join(folder, 'files/inner/a'), 'x');
    expect(hashFiles(join(folder, 'files'))).toEqual({
      a: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      'inner/a': '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
    });
  });

  it('reads metrics without those of time and memory', () => {
    const line = { step: 1, loss: 2, tokensPerSecond: 3.5, mfu: null, residentBytes: 4, backendBytes: 5 };
    writeFileSync(join(folder, 'metrics.jsonl'), `${JSON.stringify(line)}\n`);
    expect(readExactMetrics(folder)).toEqual([{ step: 1, loss: 2 }]);
    expect(readExactMetrics(join(folder, 'nowhere'))).toEqual([]);
  });
});
