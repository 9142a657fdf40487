import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppendLog, repairJsonLines } from './append-log.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-log-'));
  path = join(directory, 'metrics.jsonl');
});
afterEach(() => rmSync(directory, { recursive: true }));

const text = () => readFileSync(path, 'utf8');

describe('AppendLog', () => {
  it('appends to an existing file', () => {
    writeFileSync(path, 'a\n');
    const log = new AppendLog(path, () => {});
    log.append('b\n');
    log.append(Uint8Array.of(99, 10));
    log.flush();
    log.close();
    expect(text()).toBe('a\nb\nc\n');
  });
});

describe('repairJsonLines', () => {
  const lineOf = (step: number) => `${JSON.stringify({ step, loss: 1 / step })}\n`;
  const lines = Array.from({ length: 8 }, (_, i) => lineOf(i + 1));

  it('keeps the complete lines up to a step, with any truncation or damage', () => {
    const tails = fc.constantFrom('', '\0', '\0'.repeat(50), '\n', '{"step":');
    fc.assert(
      fc.property(fc.nat(lines.join('').length), tails, fc.nat(9), (length, tail, step) => {
        const cut = lines.join('').slice(0, length);
        writeFileSync(path, cut + tail);
        repairJsonLines(path, step);
        // A line that only lacks its end is whole.
        const whole = lines.filter((_, i) => {
          const rest = cut.slice(lines.slice(0, i).join('').length);
          return rest.startsWith(lines[i]) || (rest === lines[i].trimEnd() && !/^[\0{]/.test(tail));
        });
        expect(text()).toBe(whole.slice(0, step).join(''));
      }),
    );
  });

  it('keeps lines after damage and reports losses', () => {
    for (const bad of ['{"step":2', '{"loss":2}', 'null', '\0\0\0', '', '[1]']) {
      writeFileSync(path, `${lineOf(1)}${bad}\n${lineOf(3)}${lineOf(4)}`);
      expect(repairJsonLines(path, 3)).toBe('line 2 was incomplete or damaged and is removed');
      expect(text()).toBe(lineOf(1) + lineOf(3));
    }
    writeFileSync(path, `${lineOf(1)}{\n\0\0`);
    expect(repairJsonLines(path, 5)).toBe(
      '2 lines from line 2 were incomplete or damaged and are removed; steps 2 to 5 are lost',
    );
    writeFileSync(path, `${lineOf(1)}${lineOf(2).trimEnd()}`);
    expect(repairJsonLines(path, 2)).toBeUndefined();
    expect(text()).toBe(lineOf(1) + lineOf(2));
  });
});
