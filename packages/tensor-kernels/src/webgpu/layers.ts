/** RMSNorm, rotary positions, SwiGLU and embedding: memory-bound kernels, one pass each. */
import * as tf from '@tensorflow/tfjs-core';
import { rowsOf } from '../kernel-shapes.ts';
import type { Kernels } from '../kernel-signatures.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { elementwise, runElements, runRows } from './dispatch.ts';
import { type RowGroup, rowGroup, rowKernel } from './rows.ts';

const { sizeFromShape } = tf.util;

const rmsNormKernel = (group: RowGroup) =>
  rowKernel(group, 'RmsNorm', {
    reads: { x: 'f32', weight: 'f32' },
    writes: { y: 'f32' },
    uniforms: { C: 'u32', epsilon: 'f32' },
    body: `  let base = row * uniforms.C;
  var squares = 0.0;
  for (var c = thread; c < uniforms.C; c += ${group.threads}u) { squares += x[base + c] * x[base + c]; }
  let scale = inverseSqrt(sumOf(squares, thread) / f32(uniforms.C) + uniforms.epsilon);
  for (var c = thread; c < uniforms.C; c += ${group.threads}u) { y[base + c] = x[base + c] * scale * weight[c]; }`,
  });

const rmsNormGradKernel = (group: RowGroup) =>
  rowKernel(group, 'RmsNormGrad', {
    reads: { dy: 'f32', x: 'f32', weight: 'f32' },
    writes: { dx: 'f32', scales: 'f32' },
    uniforms: { C: 'u32', epsilon: 'f32' },
    body: `  let base = row * uniforms.C;
  var squares = 0.0;
  var product = 0.0;
  for (var c = thread; c < uniforms.C; c += ${group.threads}u) {
    let value = x[base + c];
    squares += value * value;
    product += value * dy[base + c] * weight[c];
  }
  let scale = inverseSqrt(sumOf(squares, thread) / f32(uniforms.C) + uniforms.epsilon);
  let along = sumOf(product, thread) * scale * scale / f32(uniforms.C);
  for (var c = thread; c < uniforms.C; c += ${group.threads}u) {
    dx[base + c] = scale * (dy[base + c] * weight[c] - x[base + c] * along);
  }
  if (thread == 0u) { scales[row] = scale; }`,
  });

/** Rows over which one thread sums the gradient of the weight. */
const ROWS_PER_PART = 64;

const RMS_NORM_WEIGHT_PARTS = elementwise(
  'RmsNormWeightParts',
  { dy: 'f32', x: 'f32', scales: 'f32' },
  { parts: 'f32' },
  { rows: 'u32', C: 'u32' },
  `  let c = i % uniforms.C;
  let first = i / uniforms.C * ${ROWS_PER_PART}u;
  var sum = 0.0;
  for (var row = first; row < min(first + ${ROWS_PER_PART}u, uniforms.rows); row++) {
    sum += dy[row * uniforms.C + c] * x[row * uniforms.C + c] * scales[row];
  }
  parts[i] = sum;`,
);

const SUM_COLUMNS = elementwise(
  'SumColumns',
  { parts: 'f32' },
  { sums: 'f32' },
  { rows: 'u32' },
  `  var sum = 0.0;
  for (var row = 0u; row < uniforms.rows; row++) { sum += parts[row * uniforms.count + i]; }
  sums[i] = sum;`,
);

const ROTARY = elementwise(
  'RotaryEmbedding',
  { x: 'f32', cosine: 'f32', sine: 'f32' },
  { y: 'f32' },
  { T: 'u32', H: 'u32', half: 'u32', tableBatch: 'u32', sign: 'f32' },
  `  let d = i % uniforms.half;
  let token = i / (uniforms.half * uniforms.H);
  let entry = select(token % uniforms.T, token, uniforms.tableBatch > 1u) * uniforms.half + d;
  let c = cosine[entry];
  let s = sine[entry] * uniforms.sign;
  let at = i / uniforms.half * 2u * uniforms.half + d;
  let first = x[at];
  let second = x[at + uniforms.half];
  y[at] = first * c - second * s;
  y[at + uniforms.half] = second * c + first * s;`,
);

const SWIGLU = elementwise(
  'SwiGlu',
  { gate: 'f32', up: 'f32' },
  { y: 'f32' },
  {},
  `  y[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];`,
);

const SWIGLU_GRAD = elementwise(
  'SwiGluGrad',
  { dy: 'f32', gate: 'f32', up: 'f32' },
  { dGate: 'f32', dUp: 'f32' },
  {},
  `  let sigmoid = 1.0 / (1.0 + exp(-gate[i]));
  dUp[i] = dy[i] * gate[i] * sigmoid;
  dGate[i] = dy[i] * up[i] * sigmoid * (1.0 + gate[i] * (1.0 - sigmoid));`,
);

/** NaN at run time, since WGSL rejects a constant NaN; `i` is a `u32` variable. */
export const nanFrom = (i: string) => `bitcast<f32>(0x7fc00000u | (${i} & 1u))`;

/** An id outside the table that is known to the device alone gives a row of NaN, which the loss shows. */
const EMBEDDING = elementwise(
  'Embedding',
  { ids: 'i32', table: 'f32' },
  { y: 'f32' },
  { V: 'u32', C: 'u32' },
  `  let id = u32(ids[i / uniforms.C]);
  if (id < uniforms.V) { y[i] = table[id * uniforms.C + i % uniforms.C]; } else { y[i] = ${nanFrom('i')}; }`,
);

/** Checks the ids whose values the host knows. */
export function requireIds(backend: WebgpuBackend, op: string, ids: tf.TensorInfo, V: number): void {
  const at = backend.hostValues(ids)?.findIndex((id) => id < 0 || id >= V) ?? -1;
  if (at < 0) return;
  throw new Error(
    `${op}: id outside the vocabulary, got ${backend.hostValues(ids)![at]} at position ${at}, expected 0 to ${V - 1}`,
  );
}

/** Each row of the table sums its tokens in order, without atomics: the result is deterministic. */
const EMBEDDING_GRAD = elementwise(
  'EmbeddingGrad',
  { dy: 'f32', starts: 'i32', positions: 'i32' },
  { dTable: 'f32' },
  { C: 'u32' },
  `  let row = i / uniforms.C;
  var sum = 0.0;
  for (var p = starts[row]; p < starts[row + 1u]; p++) { sum += dy[u32(positions[p]) * uniforms.C + i % uniforms.C]; }
  dTable[i] = sum;`,
);

/** For ids that are known to the device alone. */
const EMBEDDING_SCATTER = elementwise(
  'EmbeddingScatter',
  { dy: 'f32', ids: 'i32' },
  { dTable: 'atomic<u32>' },
  { V: 'u32', C: 'u32' },
  `  let id = u32(ids[i / uniforms.C]);
  if (id >= uniforms.V) { return; }
  let at = id * uniforms.C + i % uniforms.C;
  var seen = atomicLoad(&dTable[at]);
  loop {
    let result = atomicCompareExchangeWeak(&dTable[at], seen, bitcast<u32>(bitcast<f32>(seen) + dy[i]));
    if (result.exchanged) { break; }
    seen = result.old_value;
  }`,
);

/** The start of each row's tokens in a list of all tokens sorted by row, and that list. */
function tokensByRow(ids: tf.TypedArray, V: number): [starts: Int32Array, positions: Int32Array] {
  const starts = new Int32Array(V + 1);
  for (const id of ids) starts[id + 1] += 1;
  for (let row = 0; row < V; row++) starts[row + 1] += starts[row];
  const next = starts.slice();
  const positions = new Int32Array(ids.length);
  for (const [at, id] of ids.entries()) positions[next[id]++] = at;
  return [starts, positions];
}

export const layerKernels: Kernels<WebgpuBackend> = {
  RmsNorm({ backend, inputs: { x, weight }, attrs: { epsilon } }) {
    const y = backend.makeTensorInfo(x.shape, 'float32');
    const [rows, C] = rowsOf(x);
    runRows(backend, rmsNormKernel(rowGroup(backend.gpu, C)), rows, { x, weight, y }, { C, epsilon });
    return y;
  },

  RmsNormGrad({ backend, inputs: { dy, x, weight }, attrs: { epsilon } }) {
    const [rows, C] = rowsOf(x);
    const numParts = Math.ceil(rows / ROWS_PER_PART);
    const [dx, scales, parts, dWeight] = [x.shape, [rows], [numParts, C], [C]].map((shape) =>
      backend.makeTensorInfo(shape, 'float32'),
    );
    const tensors = { dy, x, weight, dx, scales, parts };
    runRows(backend, rmsNormGradKernel(rowGroup(backend.gpu, C)), rows, tensors, { C, epsilon });
    runElements(backend, RMS_NORM_WEIGHT_PARTS, numParts * C, tensors, { rows, C });
    runElements(backend, SUM_COLUMNS, C, { parts, sums: dWeight }, { rows: numParts });
    for (const { dataId } of [scales, parts]) backend.disposeData(dataId);
    return [dx, dWeight];
  },

  RotaryEmbedding({ backend, inputs: { x, cos, sin }, attrs: { inverse } }) {
    const [, T, H, D] = x.shape;
    const y = backend.makeTensorInfo(x.shape, 'float32');
    const tableBatch = cos.shape.length === 3 ? cos.shape[0] : 1;
    const uniforms = { T, H, half: D / 2, tableBatch, sign: inverse ? -1 : 1 };
    runElements(backend, ROTARY, sizeFromShape(x.shape) / 2, { x, cosine: cos, sine: sin, y }, uniforms);
    return y;
  },

  SwiGlu({ backend, inputs: { gate, up } }) {
    const y = backend.makeTensorInfo(gate.shape, 'float32');
    runElements(backend, SWIGLU, sizeFromShape(gate.shape), { gate, up, y });
    return y;
  },

  SwiGluGrad({ backend, inputs: { dy, gate, up } }) {
    const [dGate, dUp] = [gate, up].map(({ shape }) => backend.makeTensorInfo(shape, 'float32'));
    runElements(backend, SWIGLU_GRAD, sizeFromShape(gate.shape), { dy, gate, up, dGate, dUp });
    return [dGate, dUp];
  },

  Embedding({ backend, inputs: { ids, table } }) {
    const [V, C] = table.shape;
    requireIds(backend, 'embedding', ids, V);
    const y = backend.makeTensorInfo([...ids.shape, C], 'float32');
    runElements(backend, EMBEDDING, sizeFromShape(y.shape), { ids, table, y }, { V, C });
    return y;
  },

  EmbeddingGrad({ backend, inputs: { dy, ids }, attrs: { numRows: V } }) {
    const C = dy.shape[dy.shape.length - 1];
    const known = backend.hostValues(ids);
    if (!known) {
      const dTable = backend.makeTensorInfo([V, C], 'float32', new Float32Array(V * C));
      runElements(backend, EMBEDDING_SCATTER, sizeFromShape(dy.shape), { dy, ids, dTable }, { V, C });
      return dTable;
    }
    const [starts, positions] = tokensByRow(known, V).map((values) =>
      backend.makeTensorInfo([values.length], 'int32', values),
    );
    const dTable = backend.makeTensorInfo([V, C], 'float32');
    runElements(backend, EMBEDDING_GRAD, V * C, { dy, starts, positions, dTable }, { C });
    for (const { dataId } of [starts, positions]) backend.disposeData(dataId);
    return dTable;
  },
};
