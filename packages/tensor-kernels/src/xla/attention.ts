/**
 * Attention in tiles of queries and keys with a running softmax (FlashAttention-2, Dao 2023), as loops that XLA compiles:
 * memory is linear in length. A loop visits only the tiles that causality and the window leave.
 *
 * Shape suffixes as in reference.ts; R query heads for each key head, t queries and s keys of a tile.
 */
import { stablehlo as hlo } from '@meap/pjrt';
import { fusedBackward, fusedForward, isFused } from './fused-attention.ts';
import {
  along,
  counted,
  type Dot,
  type Floats,
  filled,
  filledWith,
  type Integers,
  integers,
  type Lowerings,
  partAt,
  repeat,
  scaled,
  sumOfLast,
  withPart,
} from './lowering.ts';
import { batched } from './sharding.ts';

/** Queries and keys of a tile. */
const TILE = 512;

/** The score of a key that a query does not see: finite, so that a tile without visible keys gives no NaN. */
const HIDDEN = -1e30;

interface Inputs {
  q: Floats;
  k: Floats;
  v: Floats;
  segmentIds?: Floats;
  prefixIds?: Floats;
}

interface Options {
  window: number;
  scale: number;
  /** Position of the first query among the keys; by default the queries are the last. */
  offset?: Integers;
  /** Most queries and keys of a tile; for tests. */
  tile?: number;
}

/** Rows of a batch and heads are independent: each device computes its own. */
const byHeads = (x_BTHD: Floats) => batched(x_BTHD, { 2: ['tensor'] });

/** The tiles of a call. */
function tilesOf(
  { q, k, v, segmentIds, prefixIds }: Inputs,
  { window, scale, offset, tile = TILE }: Options,
  dot: Dot,
) {
  const [B, T, H, D] = q.shape;
  const [, S, G] = k.shape;
  const R = H / G;
  const [t, s] = [Math.min(T, tile), Math.min(S, tile)];
  const first = offset ?? filledWith([], S - T);
  const tileShape = [B, G, t, R, s];
  const number = (value: number) => filledWith([], value);
  const grouped = (x: Floats) => hlo.reshape(x, [B, T, G, R, D]);
  /** The start of a tile, moved back if fewer rows than a tile's are left. */
  const start = (i: Integers, size: number, length: number) =>
    hlo.minimum(hlo.multiply(i, number(size)), number(length - size));

  /** The keys that queries see, in the shape of the scores. Keys that a tile which was moved back has again are left out. */
  function visible(q0: Integers, j: Integers, k0: Integers): hlo.Tensor<'bool'> {
    const at = (dimension: number, from: Integers) =>
      hlo.add(counted([B, t, s], dimension), along(from, [B, t, s]));
    const all = (value: Integers) => along(value, [B, t, s]);
    const query = at(1, hlo.add(first, q0));
    const key = at(2, k0);
    let seen = hlo.compare('LE', key, query);
    const require = (condition: hlo.Tensor<'bool'>) => {
      seen = hlo.and(seen, condition);
    };
    if (window > 0) require(hlo.compare('GT', key, hlo.subtract(query, filledWith([B, t, s], window))));
    if (S % s > 0) require(hlo.compare('GE', key, all(hlo.multiply(j, number(s)))));
    if (segmentIds) {
      const ofKeys = hlo.broadcastInDim(partAt(integers(segmentIds), 1, k0, s), [B, t, s], [0, 2]);
      const isOf = (ids: Floats) =>
        hlo.compare('EQ', along(partAt(integers(ids), 1, q0, t), [B, t, s]), ofKeys);
      require(prefixIds ? hlo.or(isOf(segmentIds), isOf(prefixIds)) : isOf(segmentIds));
    }
    return hlo.broadcastInDim(seen, tileShape, [0, 2, 4]);
  }

  return {
    tileShape,
    grouped,
    numQueryTiles: Math.ceil(T / t),
    queryStart: (i: Integers) => start(i, t, T),
    keyStart: (j: Integers) => start(j, s, S),
    /** The tiles of keys that queries from `q0` see. */
    keyTiles(q0: Integers) {
      const position = hlo.add(first, q0);
      const last = hlo.divide(hlo.add(position, number(t - 1)), number(s));
      const oldest = hlo.maximum(hlo.subtract(position, number(window - 1)), number(0));
      return {
        count: Math.ceil(S / s),
        first: window > 0 ? hlo.divide(oldest, number(s)) : number(0),
        end: hlo.minimum(hlo.add(last, number(1)), number(Math.ceil(S / s))),
      };
    },
    /** Rows of a tensor `[B, T, …]`. */
    rows: (x: Floats, q0: Integers) => partAt(x, 1, q0, t),
    /** Rows of a tile, with zeros for those that it has again because it was moved back. */
    ownRows(x: Floats, i: Integers, q0: Integers): Floats {
      if (T % t === 0) return x;
      const row = hlo.add(counted(x.shape, 1), along(q0, x.shape));
      const isOwn = hlo.compare('GE', row, along(hlo.multiply(i, number(t)), x.shape));
      return hlo.select(isOwn, x, filled(x.shape, 0));
    },
    keys: (j: Integers) => partAt(k, 1, start(j, s, S), s),
    values: (j: Integers) => partAt(v, 1, start(j, s, S), s),
    /** Scaled scores `[B, G, t, R, s]` of a tile, and the mask of those that a query sees. */
    scores(q_BtGRD: Floats, q0: Integers, j: Integers) {
      const k0 = start(j, s, S);
      const product = dot(q_BtGRD, partAt(k, 1, k0, s), {
        batching: [
          [0, 2],
          [0, 2],
        ],
        contracting: [[4], [3]],
      });
      return { scores: scaled(product, scale), mask: visible(q0, j, k0) };
    },
    shapes: { B, T, S, H, G, D, R, t, s },
  };
}

/** Attention and the logarithm of each row's sum of exponentials, `[B, H, T]`. */
export function attentionForward(
  { q, k, v, ...segments }: Inputs,
  options: Options,
  dot: Dot,
): [out_BTHD: Floats, logSumExp_BHT: Floats] {
  const tiles = tilesOf({ q: byHeads(q), k: byHeads(k), v: byHeads(v), ...segments }, options, dot);
  const { B, T, H, G, D, R, t } = tiles.shapes;
  const q_BTGRD = tiles.grouped(byHeads(q));
  const [row, wide] = [
    [B, G, t, R],
    [B, G, t, R, D],
  ];
  const [out, logSumExp] = repeat(
    { count: tiles.numQueryTiles },
    [filled([B, T, G, R, D], 0), filled([B, T, G, R], 0)],
    (i, [out, logSumExp]) => {
      const q0 = tiles.queryStart(i);
      const q = tiles.rows(q_BTGRD, q0);
      const [peak, total, sum] = repeat(
        tiles.keyTiles(q0),
        [filled(row, Number.NEGATIVE_INFINITY), filled(row, 0), filled(wide, 0)],
        (j, values) => {
          const [oldPeak, oldTotal, oldSum] = values as Floats[];
          const { scores, mask } = tiles.scores(q, q0, j);
          const masked = hlo.select(mask, scores, filled(tiles.tileShape, HIDDEN));
          const peak = hlo.maximum(oldPeak, hlo.reduce(masked, 'maximum', [4]));
          const weights = hlo.exponential(hlo.subtract(masked, along(peak, tiles.tileShape)));
          const shrunk = hlo.exponential(hlo.subtract(oldPeak, peak));
          const product = dot(weights, tiles.values(j), {
            batching: [
              [0, 1],
              [0, 2],
            ],
            contracting: [[4], [1]],
          });
          return [
            peak,
            hlo.add(hlo.multiply(oldTotal, shrunk), sumOfLast(weights)),
            hlo.add(hlo.multiply(oldSum, along(shrunk, wide)), product),
          ];
        },
      ) as Floats[];
      const result = hlo.divide(sum, along(total, wide));
      return [
        withPart(out as Floats, hlo.transpose(result, [0, 2, 1, 3, 4]), 1, q0),
        withPart(logSumExp as Floats, hlo.transpose(hlo.add(peak, hlo.log(total)), [0, 2, 1, 3]), 1, q0),
      ];
    },
  ) as Floats[];
  const logSumExp_BHT = hlo.reshape(hlo.transpose(logSumExp, [0, 2, 3, 1]), [B, H, T]);
  return [byHeads(hlo.reshape(out, [B, T, H, D])), batched(logSumExp_BHT, { 1: ['tensor'] })];
}

/** The gradients of queries, keys and values. */
export function attentionBackward(
  inputs: Inputs & Record<'dy' | 'out' | 'logSumExp', Floats>,
  options: Options,
  dot: Dot,
): [dq: Floats, dk: Floats, dv: Floats] {
  const { segmentIds, prefixIds, logSumExp } = inputs;
  const [dy, q, k, v, out] = [inputs.dy, inputs.q, inputs.k, inputs.v, inputs.out].map(byHeads);
  const tiles = tilesOf({ q, k, v, segmentIds, prefixIds }, options, dot);
  const { B, T, H, G, D, R, t, s } = tiles.shapes;
  const [q_BTGRD, dy_BTGRD, out_BTGRD] = [q, dy, out].map(tiles.grouped);
  const logSumExp_BTGR = hlo.transpose(hlo.reshape(logSumExp, [B, G, R, T]), [0, 3, 1, 2]);
  /** Repeats a number for each row of a tile, `[B, t, G, R]`, in the shape of the scores. */
  const ofScores = (x: Floats) => along(hlo.transpose(x, [0, 2, 1, 3]), tiles.tileShape);
  const addPart = (x: Floats, part: Floats, start: Integers, length: number) =>
    withPart(x, hlo.add(partAt(x, 1, start, length), part), 1, start);
  const [dq, dk, dv] = repeat(
    { count: tiles.numQueryTiles },
    [filled([B, T, G, R, D], 0), filled(k.shape, 0), filled(v.shape, 0)],
    (i, [dq, dk, dv]) => {
      const q0 = tiles.queryStart(i);
      const ofQueries = tiles.rows(q_BTGRD, q0);
      const ofOutput = tiles.ownRows(tiles.rows(dy_BTGRD, q0), i, q0);
      const sums = ofScores(tiles.rows(logSumExp_BTGR, q0));
      const products = ofScores(sumOfLast(hlo.multiply(ofOutput, tiles.rows(out_BTGRD, q0))));
      const [dQueries, dKeys, dValues] = repeat(
        tiles.keyTiles(q0),
        [filled([B, G, t, R, D], 0), dk, dv],
        (j, values) => {
          const [dQueries, dKeys, dValues] = values as Floats[];
          const { scores, mask } = tiles.scores(ofQueries, q0, j);
          const none = filled(tiles.tileShape, 0);
          const weights = hlo.select(mask, hlo.exponential(hlo.subtract(scores, sums)), none);
          const dWeights = dot(ofOutput, tiles.values(j), {
            batching: [
              [0, 2],
              [0, 2],
            ],
            contracting: [[4], [3]],
          });
          const dScores = scaled(hlo.multiply(weights, hlo.subtract(dWeights, products)), options.scale);
          const ofKeys = {
            batching: [
              [0, 1],
              [0, 2],
            ],
            contracting: [
              [2, 3],
              [1, 3],
            ],
          } as const;
          const add = (x: Floats, part_BGsD: Floats) =>
            addPart(x, hlo.transpose(part_BGsD, [0, 2, 1, 3]), tiles.keyStart(j), s);
          return [
            hlo.add(
              dQueries,
              dot(dScores, tiles.keys(j), {
                batching: [
                  [0, 1],
                  [0, 2],
                ],
                contracting: [[4], [1]],
              }),
            ),
            add(dKeys, dot(dScores, ofQueries, ofKeys)),
            add(dValues, dot(weights, ofOutput, ofKeys)),
          ];
        },
      ) as Floats[];
      return [addPart(dq as Floats, hlo.transpose(dQueries, [0, 2, 1, 3, 4]), q0, t), dKeys, dValues];
    },
  ) as Floats[];
  return [byHeads(hlo.reshape(dq, [B, T, H, D])), byHeads(dk), byHeads(dv)];
}

/** Inputs of a decoding step: caches by name, and the filled rows of each as `lengths`. */
export type CachedInputs = Readonly<Record<string, Floats>>;

/** Attention over caches; returns the output, then the keys and values of each cache with the new rows. */
export function cachedAttention(
  { q, k, v, lengths, ...caches }: CachedInputs,
  options: { window: number; scale: number },
  dot: Dot,
): hlo.Tensor[] {
  const [B] = q.shape;
  const parts = Array.from({ length: B }, (_, b) => {
    const row = (x: Floats) => partAt(x, 0, filledWith([], b), 1);
    const offset = hlo.reshape(hlo.slice(integers(lengths), [b], [b + 1]), []);
    const [keys, values] = [k, v].map((x, side) => {
      const cache = caches[`${side === 0 ? 'keys' : 'values'}${b}`];
      return withPart(cache, hlo.reshape(row(x), x.shape.slice(1)), 0, offset);
    });
    const [ofKeys, ofValues] = [keys, values].map((x) => hlo.reshape(x, [1, ...x.shape]));
    const [out] = attentionForward({ q: row(q), k: ofKeys, v: ofValues }, { ...options, offset }, dot);
    return { out, keys, values };
  });
  const out = hlo.concatenate(
    parts.map(({ out }) => out),
    0,
  );
  return [out, ...parts.flatMap(({ keys, values }) => [keys, values])];
}

export const attentionLowerings: Lowerings = {
  Attention: (inputs, { window, scale }, dot) =>
    isFused(inputs, dot)
      ? fusedForward(inputs, { window, scale })
      : attentionForward(inputs, { window, scale }, dot),
  AttentionGrad: (inputs, { window, scale }, dot) =>
    isFused(inputs, dot)
      ? fusedBackward(inputs, { window, scale })
      : attentionBackward(inputs, { window, scale }, dot),
};
