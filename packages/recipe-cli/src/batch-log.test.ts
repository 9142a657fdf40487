import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BatchSource } from '@meap/trainer';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { describeRow, logBatches, recentMaskedRow, type ShownRow } from './batch-log.ts';

/** Ids are bytes: characters of several tokens. */
const decodeBytes = async (ids: ArrayLike<number>) => new TextDecoder().decode(Uint8Array.from(ids));
/** Ids are words; the first loses its space, as SentencePiece's do. */
const decodeWords = async (ids: ArrayLike<number>) =>
  Array.from(ids, (id) => ` w${id}`)
    .join('')
    .slice(1);

describe('describeRow', () => {
  it('returns pieces that join to the text of the row, with any tokens masked', async () => {
    const row = fc
      .array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 3 }), fc.boolean()), { maxLength: 20 })
      .map((parts) =>
        parts.flatMap(([text, isMasked]) => [...Buffer.from(text)].map((byte) => [byte, isMasked] as const)),
      );
    await fc.assert(
      fc.asyncProperty(row, async (tokens) => {
        // Masks that begin within a character, too.
        const kinds = tokens.map(([byte, isMasked]) => (isMasked !== byte % 7 < 2 ? 'masked' : 'plain'));
        const ids = tokens.map(([byte]) => byte);
        fc.pre(ids.length <= 192);
        for (const decode of [decodeBytes, decodeWords]) {
          const { pieces, numTokens, numMasked } = await describeRow({ ids, kinds }, decode);
          expect(pieces.map(({ text }) => text).join('')).toBe(await decode(ids));
          expect([numTokens, numMasked]).toEqual([
            ids.length,
            kinds.filter((kind) => kind === 'masked').length,
          ]);
          for (let i = 1; i < pieces.length; i++) expect(pieces[i].kind).not.toBe(pieces[i - 1].kind);
        }
      }),
    );
  });

  it('begins a new piece with each part, and cuts a long row', async () => {
    const row: ShownRow = {
      ids: [1, 2, 3, 4],
      kinds: ['prompt', 'plain', 'prompt', 'masked'],
      parts: new Map([
        [0, 'original'],
        [2, 'masked copy'],
      ]),
    };
    expect(await describeRow(row, decodeWords)).toEqual({
      numTokens: 4,
      numMasked: 1,
      pieces: [
        { text: 'w1', kind: 'prompt', part: 'original' },
        { text: ' w2', kind: 'plain' },
        { text: 'w3', kind: 'prompt', part: 'masked copy' },
        { text: ' w4', kind: 'masked' },
      ],
    });
    const long = await describeRow(
      { ids: Array(500).fill(65), kinds: Array(500).fill('masked') },
      decodeBytes,
    );
    expect(long).toMatchObject({ numTokens: 500, numMasked: 500, isCut: true });
    expect(long.pieces).toEqual([{ text: 'A'.repeat(192), kind: 'masked' }]);
  });
});

describe('logBatches', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'meap-batches-'));
  });
  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(directory, { recursive: true, force: true });
  });

  const numbers: BatchSource<number> = ({ step }) => step;
  const rows = (batch: number): ShownRow[] => [{ ids: [65 + batch], kinds: ['masked'] }];
  const written = () => JSON.parse(readFileSync(join(directory, 'batch.json'), 'utf8'));

  it('returns every batch, and writes one every ten seconds', async () => {
    let now = 1000;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    const { batches, settled } = logBatches(numbers, { directory, rows, decode: decodeBytes });
    for (const [step, elapsed, shown] of [
      [0, 0, 1],
      [1, 9000, 1],
      [2, 2000, 3],
      [3, 9999, 3],
    ] as const) {
      now += elapsed;
      expect(await batches({ step, microBatch: 0 })).toBe(step);
      await settled();
      expect(written()).toEqual({
        step: shown,
        rows: [{ numTokens: 1, numMasked: 1, pieces: [{ text: 'ABCD'[shown - 1], kind: 'masked' }] }],
      });
    }
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('ignores batches that it cannot decode or write', async () => {
    const fails = async () => {
      throw new Error('no');
    };
    for (const options of [
      { directory, decode: fails },
      { directory: join(directory, 'none'), decode: decodeBytes },
    ]) {
      const { batches, settled } = logBatches(numbers, { ...options, rows });
      expect(await batches({ step: 7, microBatch: 0 })).toBe(7);
      await settled();
    }
    expect(existsSync(join(directory, 'batch.json'))).toBe(false);
  });
});

describe('recentMaskedRow', () => {
  const folder = mkdtempSync(join(tmpdir(), 'masked-row-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const show = (rows: object[], width = 100) => {
    writeFileSync(join(folder, 'batch.json'), JSON.stringify({ step: 1, rows }));
    return recentMaskedRow(folder, width, '[M]');
  };
  const pieces = [
    { text: 'Call me', kind: 'plain' },
    { text: ' Ishmael', kind: 'masked' },
    { text: '.\nSome years ago', kind: 'plain' },
  ];

  it('is one line with marks for what is masked, shortened at a space', () => {
    const rows = [
      { numTokens: 5, numMasked: 0, pieces: [] },
      { numTokens: 9, numMasked: 2, pieces },
    ];
    expect(show(rows)).toBe('2 of 9 tokens\nCall me[M]. Some years ago');
    expect(show(rows, 18)).toBe('2 of 9 tokens\nCall me[M]. Some …');
  });

  it('is undefined without masks, and without a batch', () => {
    expect(show([{ numTokens: 5, numMasked: 0, pieces }])).toBeUndefined();
    rmSync(join(folder, 'batch.json'));
    expect(recentMaskedRow(folder, 9, '[M]')).toBeUndefined();
  });
});
