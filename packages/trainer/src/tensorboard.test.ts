import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { restartEvent, scalarsEvent, versionEvent, wholeRecords } from './tensorboard.ts';

const folder = new URL('../fixtures/events/', import.meta.url);
const FIRST = 'events.out.tfevents.1700000000.host.1.s0';
const SECOND = 'events.out.tfevents.1700000100.host.2.s3';

/** A run of five steps that was killed, and goes on from its checkpoint at step 3. */
function makeFiles(): Record<string, Buffer> {
  const steps = (first: number, last: number, start: number) =>
    Array.from({ length: last - first + 1 }, (_, i) => {
      const step = first + i;
      const mfu = step === 1 ? null : step / 100;
      return scalarsEvent(start + step, step, { 'train/loss': start / 1e9 / step, 'speed/mfu': mfu });
    });
  return {
    [FIRST]: Buffer.concat([versionEvent(1.7e9), ...steps(1, 5, 1.7e9)]),
    [SECOND]: Buffer.concat([
      versionEvent(1700000100),
      restartEvent(1700000100, 4),
      ...steps(4, 7, 1700000100),
    ]),
  };
}

describe('TensorBoard events', () => {
  if (process.env.UPDATE_FIXTURES) {
    for (const [name, bytes] of Object.entries(makeFiles())) writeFileSync(new URL(name, folder), bytes);
  }

  it('are byte for byte the files that TensorBoard has read', () => {
    expect(existsSync(folder) && readdirSync(folder)).toEqual([FIRST, SECOND]);
    for (const [name, bytes] of Object.entries(makeFiles())) {
      expect(bytes.equals(readFileSync(new URL(name, folder)))).toBe(true);
    }
  });

  it('were read by TensorBoard as one run, the void steps of the first process gone', () => {
    const read = JSON.parse(readFileSync(new URL('../fixtures/events.json', import.meta.url), 'utf8'));
    const steps = (tag: string) => read[tag].map(([, step]: number[]) => step);
    expect(Object.keys(read)).toEqual(['speed/mfu', 'train/loss']);
    expect(steps('train/loss')).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(steps('speed/mfu')).toEqual([2, 3, 4, 5, 6, 7]);
    for (const [seconds, step, value] of read['train/loss']) {
      const start = step <= 3 ? 1.7e9 : 1700000100;
      expect(seconds).toBe(start + step);
      expect(value).toBe(Math.fround(start / 1e9 / step));
    }
  });

  it('are whole up to where a file was cut, or its bytes are others', () => {
    const records = [versionEvent(1), scalarsEvent(2, 1, { a: 1 }), scalarsEvent(3, 2, { a: 2 })];
    const file = Buffer.concat(records);
    const ends = records.map((_, i) => Buffer.concat(records.slice(0, i + 1)).length);
    const endBefore = (at: number) => [0, ...ends].findLast((end) => end <= at);
    for (let at = 0; at < file.length; at++) {
      expect(wholeRecords(file.subarray(0, at))).toBe(endBefore(at));
      const changed = Buffer.from(file);
      changed[at] ^= 1;
      expect(wholeRecords(changed)).toBe(endBefore(at));
    }
    expect(wholeRecords(Buffer.concat([file, Buffer.alloc(4096)]))).toBe(file.length);
  });
});
