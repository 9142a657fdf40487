import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppendLog, truncateJsonLines } from './append-log.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-log-'));
  path = join(directory, 'metrics.jsonl');
});
afterEach(() => rmSync(directory, { recursive: true }));

const text = () => readFileSync(path, 'utf8');

describe('AppendLog', () => {
  it('goes on after what is there', () => {
    writeFileSync(path, 'a\n');
    const log = new AppendLog(path, () => {});
    log.append('b\n');
    log.append(Uint8Array.of(99, 10));
    log.flush();
    log.close();
    expect(text()).toBe('a\nb\nc\n');
  });
});

describe('truncateJsonLines', () => {
  it('keeps the lines up to a step and nothing torn, wherever the file was cut', () => {
    const lines = Array.from(
      { length: 8 },
      (_, i) => `${JSON.stringify({ step: i + 1, loss: 1 / (i + 1) })}\n`,
    );
    fc.assert(
      fc.property(fc.nat(lines.join('').length), fc.nat(9), (length, step) => {
        const cut = lines.join('').slice(0, length);
        writeFileSync(path, cut);
        truncateJsonLines(path, step);
        const whole = cut.split('\n').length - 1;
        expect(text()).toBe(lines.slice(0, Math.min(whole, step)).join(''));
      }),
    );
  });

  it('cuts before a line that is no JSON, has no step, or is null', () => {
    for (const bad of ['{"step":2', '{"loss":2}', 'null', '\0\0\0']) {
      writeFileSync(path, `{"step":1}\n${bad}\n{"step":2}\n`);
      truncateJsonLines(path, 9);
      expect(text()).toBe('{"step":1}\n');
    }
  });
});
