import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SftError } from './error.ts';
import { joinRows, packRows, stackRows } from './rows.ts';
import type { SftRow } from './types.ts';

/** A row with segments of these lengths, with distinct tokens. */
function rowOf(segments: number[], first = 100): SftRow {
  const length = segments.reduce((sum, size) => sum + size, 0);
  return {
    inputs: Int32Array.from({ length }, (_, i) => first + i),
    targets: Int32Array.from({ length }, (_, i) => first + i + 1),
    lossMask: Uint8Array.from({ length }, (_, i) => i % 2),
    segmentIds: Int32Array.from(segments.flatMap((size, id) => new Array<number>(size).fill(id))),
    positions: Int32Array.from(segments.flatMap((size) => [...Array(size).keys()])),
    kinds: Uint8Array.from({ length }, (_, i) => 1 + (i % 7)),
  };
}

/** The segments of a row as text, without those of padding. */
function segmentsOf(row: SftRow): string[] {
  const numSegments = Math.max(-1, ...row.segmentIds) + 1;
  return [...Array(numSegments).keys()]
    .map((segment) => [...row.segmentIds.keys()].filter((i) => row.segmentIds[i] === segment))
    .filter((positions) => row.kinds[positions[0]] !== 0)
    .map((positions) =>
      JSON.stringify(
        positions.map((i) => [
          row.inputs[i],
          row.targets[i],
          row.lossMask[i],
          row.positions[i],
          row.kinds[i],
        ]),
      ),
    );
}

const someRows = fc
  .array(fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }), { maxLength: 40 })
  .map((all) => all.map((segments, i) => rowOf(segments, 1000 * (i + 1))));

describe('joinRows', () => {
  it('by hand: segment ids continue, padding is the last segment', () => {
    const joined = joinRows([rowOf([2, 1]), rowOf([2], 200)], { length: 7, padId: 9 });
    expect(Object.fromEntries(Object.entries(joined).map(([name, values]) => [name, [...values]]))).toEqual({
      inputs: [100, 101, 102, 200, 201, 9, 9],
      targets: [101, 102, 103, 201, 202, 9, 9],
      lossMask: [0, 1, 0, 0, 1, 0, 0],
      segmentIds: [0, 0, 1, 2, 2, 3, 3],
      positions: [0, 1, 0, 0, 1, 0, 0],
      kinds: [1, 2, 3, 1, 2, 0, 0],
    });
    expect(joinRows([])).toEqual(joinRows([], { length: 0 }));
  });

  it('refuses rows that do not fit', () => {
    expect(() => joinRows([rowOf([3]), rowOf([3])], { length: 5 })).toThrow(SftError);
    expect(() => joinRows([rowOf([3])], { length: 2 })).toThrow(/got 3 positions, expected at most 2/);
    expect(() => joinRows([rowOf([1])], { length: 2, padId: -1 })).toThrow(SftError);
  });
});

describe('packRows', () => {
  it('keeps every segment whole, and all rows have the length', () => {
    fc.assert(
      fc.property(
        someRows,
        fc.integer({ min: 36, max: 80 }),
        fc.integer({ min: 1, max: 50 }),
        (rows, length, window) => {
          const packed = packRows(rows, { length, window, padId: 3 });
          expect(packed.rows.flatMap(segmentsOf).sort()).toEqual(rows.flatMap(segmentsOf).sort());
          for (const row of packed.rows) {
            expect(Object.values(row).every((values) => values.length === length)).toBe(true);
            for (let i = 1; i < length; i++) {
              expect(row.segmentIds[i] - row.segmentIds[i - 1]).toBeOneOf([0, 1]);
            }
            const padding = [...row.kinds.keys()].filter((i) => row.kinds[i] === 0);
            for (const i of padding)
              expect([row.inputs[i], row.lossMask[i], row.positions[i]]).toEqual([3, 0, 0]);
          }
          const { statistics } = packed;
          const padding = packed.rows.flatMap(({ kinds }) => [...kinds]).filter((kind) => kind === 0).length;
          const numPositions = packed.rows.length * length;
          expect(statistics.numPositions).toBe(numPositions - padding);
          expect(statistics.padding).toBeCloseTo(numPositions === 0 ? 0 : padding / numPositions, 12);
          expect(statistics.padding).toBeLessThanOrEqual(statistics.paddingAlone);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('by hand: padding without packing', () => {
    const { statistics } = packRows([rowOf([6]), rowOf([3]), rowOf([4])], { length: 10 });
    expect(statistics).toEqual({
      numRows: 3,
      numPackedRows: 2,
      numPositions: 13,
      longest: 6,
      padding: 1 - 13 / 20,
      paddingToLongest: 1 - 13 / 18,
      paddingAlone: 1 - 13 / 30,
    });
    expect(packRows([], { length: 4 }).statistics).toMatchObject({ padding: 0, paddingToLongest: 0 });
  });

  it('refuses a row over the length', () => {
    expect(() => packRows([rowOf([6])], { length: 5 })).toThrow(/row 0 does not fit, got 6 positions/);
  });
});

describe('stackRows', () => {
  it('concatenates rows, padded to the longest or to a length', () => {
    fc.assert(
      fc.property(someRows, fc.integer({ min: 0, max: 9 }), (rows, extra) => {
        const longest = Math.max(0, ...rows.map(({ inputs }) => inputs.length));
        const batch = stackRows(rows, extra > 0 ? { length: longest + extra, padId: 7 } : {});
        expect([batch.numRows, batch.length]).toEqual([rows.length, longest + extra]);
        expect(batch.numLearned).toBe(batch.lossMask.reduce((sum, learned) => sum + learned, 0));
        for (const [index, row] of rows.entries()) {
          const padded = joinRows([row], { length: batch.length, padId: extra > 0 ? 7 : 0 });
          for (const name of ['inputs', 'targets', 'lossMask', 'segmentIds', 'positions', 'kinds'] as const) {
            const part = batch[name].subarray(index * batch.length, (index + 1) * batch.length);
            expect([...part]).toEqual([...padded[name]]);
          }
        }
      }),
    );
  });

  it('refuses a row over the length', () => {
    expect(() => stackRows([rowOf([6])], { length: 5 })).toThrow(SftError);
  });
});
