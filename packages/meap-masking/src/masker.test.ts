import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MaskingError } from './error.ts';
import { createMasker, MASKING_STRATEGIES, type MaskerOptions } from './masker.ts';
import { referenceMask } from './reference-mask.ts';

const MASK = 99;
const KEPT = [1, 2];

const withoutSpan = MASKING_STRATEGIES.filter((strategy) => strategy !== 'span');
const strategyOptions = fc.oneof(
  fc.constantFrom({}, ...withoutSpan.map((strategy) => ({ strategy }))),
  fc.record({ strategy: fc.constant('span' as const), spanLength: fc.integer({ min: 1, max: 60 }) }),
);
const anyMasker = fc.record({
  options: strategyOptions,
  ratio: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.99, noNaN: true })),
  seed: fc.nat(),
  keepIds: fc.constantFrom([], KEPT),
});
const anyBatch = fc
  .record({
    rows: fc.integer({ min: 0, max: 5 }),
    length: fc.integer({ min: 2, max: 200 }),
    step: fc.nat(),
    firstRow: fc.nat({ max: 1000 }),
  })
  .chain((batch) =>
    fc.record({
      batch: fc.constant(batch),
      ids: fc.array(fc.integer({ min: 0, max: 9 }), {
        minLength: batch.rows * batch.length,
        maxLength: batch.rows * batch.length,
      }),
    }),
  );

describe('createMasker', () => {
  it('replaces exactly the positions it returns, keeps keepIds, and does not change the given array', () => {
    fc.assert(
      fc.property(anyMasker, anyBatch, ({ options, ...rest }, { batch, ids }) => {
        const masker = createMasker({ ...options, ...rest, maskId: MASK });
        const given = Int32Array.from(ids);
        const { inputs, positions, numMasked } = masker.apply(given, batch);
        expect([...given]).toEqual(ids);
        expect(positions.length).toBe(batch.rows);
        const changed = positions.flatMap((row, index) => [...row].map((p) => index * batch.length + p));
        expect(new Set(changed).size).toBe(numMasked);
        for (const row of positions) expect([...row]).toEqual([...new Set(row)].sort((a, b) => a - b));
        const expected = [...ids];
        for (const at of changed) {
          expect(rest.keepIds).not.toContain(ids[at]);
          expected[at] = MASK;
        }
        expect([...inputs]).toEqual(expected);
        if (rest.ratio === 0) expect(numMasked).toBe(0);
      }),
    );
  });

  it('does not depend on how a step is split into batches, on order, or on history', () => {
    fc.assert(
      fc.property(anyMasker, anyBatch, fc.nat({ max: 5 }), ({ options, ...rest }, { batch, ids }, cut) => {
        const make = () => createMasker({ ...options, ...rest, maskId: MASK });
        const whole = make().apply(Int32Array.from(ids), batch).inputs;
        const split = Math.min(cut, batch.rows);
        const at = split * batch.length;
        const masker = make();
        const second = masker.apply(Int32Array.from(ids.slice(at)), {
          ...batch,
          rows: batch.rows - split,
          firstRow: batch.firstRow + split,
        });
        const first = masker.apply(Int32Array.from(ids.slice(0, at)), { ...batch, rows: split });
        expect([...first.inputs, ...second.inputs]).toEqual([...whole]);
      }),
    );
  });

  it('replaces the same positions by drawn ids, whatever the split of a step', () => {
    fc.assert(
      fc.property(anyMasker, anyBatch, fc.nat({ max: 5 }), ({ options, ...rest }, { batch, ids }, cut) => {
        const given = Int32Array.from(ids);
        const replacementIds = [11, 12, 13, 17];
        const masks = createMasker({ ...options, ...rest, maskId: MASK }).apply(given, batch);
        const masker = createMasker({ ...options, ...rest, maskId: MASK, replacementIds });
        const drawn = masker.apply(given, batch);
        expect(drawn.positions).toEqual(masks.positions);
        drawn.inputs.forEach((id, i) => {
          if (masks.inputs[i] === MASK) expect(replacementIds).toContain(id);
          else expect(id).toBe(ids[i]);
        });
        const split = Math.min(cut, batch.rows);
        const [rows, firstRow] = [batch.rows - split, batch.firstRow + split];
        const second = masker.apply(given.slice(split * batch.length), { ...batch, rows, firstRow });
        expect(second.inputs).toEqual(drawn.inputs.slice(split * batch.length));
      }),
    );
  });

  it('draws replacements uniformly, and others for another row, step or seed', () => {
    const [length, size] = [40_000, 8];
    const draw = (seed: number, step: number, row: number, strategy: 'per-sequence' | 'reference') => {
      const replacementIds = Int32Array.from({ length: size }, (_, i) => i + 1);
      const masker = createMasker({ strategy, ratio: 0.5, maskId: MASK, seed, replacementIds });
      return [...masker.apply(new Int32Array(length), { rows: 1, length, step, firstRow: row }).inputs];
    };
    for (const strategy of ['per-sequence', 'reference'] as const) {
      const inputs = draw(0, 0, 0, strategy);
      for (let id = 1; id <= size; id++) {
        const expected = length / 2 / size;
        const count = inputs.filter((x) => x === id).length;
        // Five standard deviations of a binomial.
        expect(Math.abs(count - expected)).toBeLessThan(5 * Math.sqrt(expected * (1 - 1 / size)));
      }
      const others = [draw(1, 0, 0, strategy), draw(0, 51, 0, strategy), draw(0, 0, 1, strategy)];
      expect(new Set([inputs, ...others].map(String)).size).toBe(4);
    }
  });

  it('masks the steps before untilStep as without it, and nothing later', () => {
    fc.assert(
      fc.property(anyMasker, anyBatch, fc.nat(), ({ options, ...rest }, { batch, ids }, untilStep) => {
        const given = Int32Array.from(ids);
        const always = createMasker({ ...options, ...rest, maskId: MASK });
        const masker = createMasker({ ...options, ...rest, maskId: MASK, untilStep });
        for (const step of [0, batch.step, untilStep - 1, untilStep]) {
          if (step < 0) continue;
          const at = { ...batch, step };
          if (step < untilStep) expect(masker.apply(given, at)).toEqual(always.apply(given, at));
          else expect(masker.apply(given, at)).toMatchObject({ inputs: given, numMasked: 0 });
        }
      }),
    );
  });

  it('masks max(1, floor(T · P)) tokens of every row by default, among those that may be masked', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 300 }),
        fc.double({ min: 1e-6, max: 0.999, noNaN: true }),
        fc.constantFrom([], KEPT),
        fc.nat(),
        (ids, ratio, keepIds, step) => {
          const { numMasked } = createMasker({ ratio, maskId: MASK, keepIds }).apply(Int32Array.from(ids), {
            rows: 1,
            length: ids.length,
            step,
          });
          const free = ids.filter((id) => !keepIds.includes(id)).length;
          expect(numMasked).toBe(Math.min(free, Math.max(1, Math.floor(ids.length * ratio))));
        },
      ),
    );
  });

  it('draws other positions for another row, step or seed', () => {
    const row = new Int32Array(4096);
    const at = (seed: number, step: number, index: number) =>
      createMasker({ ratio: 0.15, maskId: MASK, seed }).positions(row, { step, row: index }).join();
    expect(new Set([at(0, 0, 0), at(1, 0, 0), at(0, 1, 0), at(0, 0, 1)]).size).toBe(4);
  });

  it('draws the masks of earlier versions: a resumed run depends on them', () => {
    const masker = createMasker({ ratio: 0.15, maskId: MASK, seed: 1234 });
    expect([...masker.positions(new Int32Array(64), { step: 5, row: 2 })]).toEqual([
      5, 16, 31, 36, 39, 40, 45, 47, 56,
    ]);
  });

  it('reference uses the mask of the authors for all rows, and only drops kept ids', () => {
    const ids = Int32Array.from({ length: 3 * 64 }, (_, i) => i % 5);
    const batch = { rows: 3, length: 64, step: 7, firstRow: 12 };
    const sampled = referenceMask({ length: 64, ratio: 0.15, step: 7 }).sort();
    const all = createMasker({ strategy: 'reference', ratio: 0.15, maskId: MASK, seed: 5 }).apply(ids, batch);
    for (const row of all.positions) expect(row).toEqual(sampled);
    const kept = createMasker({ strategy: 'reference', ratio: 0.15, maskId: MASK, keepIds: KEPT });
    kept.apply(ids, batch).positions.forEach((row, index) => {
      expect(row).toEqual(sampled.filter((position) => !KEPT.includes(ids[index * 64 + position])));
    });
  });

  it.each<[string, Partial<MaskerOptions>]>([
    ['ratio', { ratio: 1 }],
    ['ratio', { ratio: -0.01 }],
    ['ratio', { ratio: Number.NaN }],
    ['maskId', { maskId: -1 }],
    ['maskId', { maskId: 2 ** 31 }],
    ['seed', { seed: 0.5 }],
    ['keepIds', { keepIds: [3, -3] }],
    ['replacementIds', { replacementIds: [] }],
    ['replacementIds', { replacementIds: [3, 0.5] }],
    ['untilStep', { untilStep: -1 }],
    ['strategy', { strategy: 'other' as 'span' }],
    ['spanLength', { strategy: 'span' }],
    ['spanLength', { strategy: 'span', spanLength: 0 }],
    ['spanLength', { spanLength: 5 }],
  ])('refuses a wrong %s in one line', (name, wrong) => {
    const make = () => createMasker({ ratio: 0.15, maskId: MASK, ...wrong });
    expect(make).toThrow(MaskingError);
    expect(make).toThrow(new RegExp(`^createMasker: [^\\n]*${name}[^\\n]*got [^\\n]*expected [^\\n]*$`));
  });

  it('refuses a batch of the wrong size and positions out of range', () => {
    const masker = createMasker({ ratio: 0.15, maskId: MASK });
    const ids = new Int32Array(20);
    for (const batch of [
      { rows: 2, length: 11, step: 0 },
      { rows: -2, length: -10, step: 0 },
      { rows: 2, length: 10, step: -1 },
      { rows: 2, length: 10, step: 0, firstRow: 2 ** 32 - 1 },
    ]) {
      expect(() => masker.apply(ids, batch)).toThrow(MaskingError);
    }
  });
});
