import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunError } from './errors.ts';
import { lossCurve, readJsonLines } from './metrics.ts';

const step = (number: number, loss: number | null) => ({
  step: number,
  tokens: number * 64,
  loss,
  lr: 1e-3,
  gradNorm: 1,
  tokensPerSecond: 1000,
  mfu: 0.4,
  residentBytes: 1e9,
  backendBytes: 5e8,
});

describe('lossCurve', () => {
  it('averages equal intervals of steps and ignores losses that are not finite', () => {
    const steps = [step(1, 4), step(2, 2), step(3, null), step(4, 1), step(5, 3)];
    expect(lossCurve(steps, 2)).toEqual([
      { step: 2, loss: 3 },
      { step: 5, loss: 2 },
    ]);
    expect(lossCurve(steps, 10)).toHaveLength(4);
    expect(lossCurve([], 10)).toEqual([]);
  });
});

describe('readJsonLines', () => {
  it('ignores an incomplete last line, and names any other damaged line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'meap-lines-'));
    const path = join(folder, 'metrics.jsonl');
    expect(readJsonLines(path)).toEqual([]);
    for (const torn of ['{"step":2', '\0\0', 'nul', '{"step":2}']) {
      writeFileSync(path, `{"step":1}\n${torn}`);
      expect(readJsonLines(path)).toEqual([{ step: 1 }, ...(torn === '{"step":2}' ? [{ step: 2 }] : [])]);
    }
    for (const bad of ['{"step":2', '\0', 'null', '[]', '3']) {
      writeFileSync(path, `{"step":1}\n${bad}\n{"step":3}\n`);
      expect(() => readJsonLines(path)).toThrow(RunError);
      expect(() => readJsonLines(path)).toThrow(
        /metrics\.jsonl: line 2 is damaged, expected a JSON object; resume/,
      );
    }
    rmSync(folder, { recursive: true });
  });
});
