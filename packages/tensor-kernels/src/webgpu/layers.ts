/** RMSNorm, rotary positions, SwiGLU and the embedding table: kernels bound by memory, one sweep each. */
import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from './backend-interface.ts';
import { ELEMENTWISE_MAIN, type Kernel, run, workgroupsFor } from './dispatch.ts';
import { type RowGroup, rowGroup, rowMain } from './rows.ts';

const { sizeFromShape } = tf.util;

const rmsNormKernel = (group: RowGroup): Kernel => ({
  key: `RmsNorm_${group.key}`,
  extensions: group.extensions,
  reads: { x: 'f32', weight: 'f32' },
  writes: { y: 'f32' },
  uniforms: { rows: 'u32', C: 'u32', epsilon: 'f32' },
  code: `${group.combine('sumOf', 'f32', 'a + b')}
${rowMain(group)}
  let base = row * uniforms.C;
  var squares = 0.0;
  for (var c = thread; c < uniforms.C; c += ${group.threads}u) { squares += x[base + c] * x[base + c]; }
  let scale = inverseSqrt(sumOf(squares, thread) / f32(uniforms.C) + uniforms.epsilon);
  for (var c = thread; c < uniforms.C; c += ${group.threads}u) { y[base + c] = x[base + c] * scale * weight[c]; }
}`,
});

export function rmsNorm(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  weight: tf.TensorInfo,
  epsilon: number,
): tf.TensorInfo {
  const y = backend.makeTensorInfo(x.shape, 'float32');
  const C = weight.shape[0];
  const rows = sizeFromShape(x.shape) / C;
  run(backend, rmsNormKernel(rowGroup(backend.gpu, C)), {
    reads: { x, weight },
    writes: { y },
    uniforms: { rows, C, epsilon },
    workgroups: workgroupsFor(rows, 1),
  });
  return y;
}

const rmsNormGradKernel = (group: RowGroup): Kernel => ({
  key: `RmsNormGrad_${group.key}`,
  extensions: group.extensions,
  reads: { dy: 'f32', x: 'f32', weight: 'f32' },
  writes: { dx: 'f32', scales: 'f32' },
  uniforms: { rows: 'u32', C: 'u32', epsilon: 'f32' },
  code: `${group.combine('sumOf', 'f32', 'a + b')}
${rowMain(group)}
  let base = row * uniforms.C;
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
  if (thread == 0u) { scales[row] = scale; }
}`,
});

/** Rows whose contribution to the weight's gradient one thread sums. */
const ROWS_PER_PART = 64;

const RMS_NORM_WEIGHT_PARTS: Kernel = {
  key: 'RmsNormWeightParts',
  reads: { dy: 'f32', x: 'f32', scales: 'f32' },
  writes: { parts: 'f32' },
  uniforms: { count: 'u32', rows: 'u32', C: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  let c = i % uniforms.C;
  let first = i / uniforms.C * ${ROWS_PER_PART}u;
  var sum = 0.0;
  for (var row = first; row < min(first + ${ROWS_PER_PART}u, uniforms.rows); row++) {
    sum += dy[row * uniforms.C + c] * x[row * uniforms.C + c] * scales[row];
  }
  parts[i] = sum;
}`,
};

const SUM_COLUMNS: Kernel = {
  key: 'SumColumns',
  reads: { parts: 'f32' },
  writes: { sums: 'f32' },
  uniforms: { count: 'u32', rows: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  var sum = 0.0;
  for (var row = 0u; row < uniforms.rows; row++) { sum += parts[row * uniforms.count + i]; }
  sums[i] = sum;
}`,
};

export function rmsNormGrad(
  backend: WebgpuBackend,
  dy: tf.TensorInfo,
  x: tf.TensorInfo,
  weight: tf.TensorInfo,
  epsilon: number,
): tf.TensorInfo[] {
  const C = weight.shape[0];
  const rows = sizeFromShape(x.shape) / C;
  const numParts = Math.ceil(rows / ROWS_PER_PART);
  const [dx, scales, parts, dWeight] = [x.shape, [rows], [numParts, C], [C]].map((shape) =>
    backend.makeTensorInfo(shape, 'float32'),
  );
  run(backend, rmsNormGradKernel(rowGroup(backend.gpu, C)), {
    reads: { dy, x, weight },
    writes: { dx, scales },
    uniforms: { rows, C, epsilon },
    workgroups: workgroupsFor(rows, 1),
  });
  run(backend, RMS_NORM_WEIGHT_PARTS, {
    reads: { dy, x, scales },
    writes: { parts },
    uniforms: { count: numParts * C, rows, C },
    workgroups: workgroupsFor(numParts * C),
  });
  run(backend, SUM_COLUMNS, {
    reads: { parts },
    writes: { sums: dWeight },
    uniforms: { count: C, rows: numParts },
    workgroups: workgroupsFor(C),
  });
  for (const { dataId } of [scales, parts]) backend.disposeData(dataId);
  return [dx, dWeight];
}

const ROTARY: Kernel = {
  key: 'RotaryEmbedding',
  reads: { x: 'f32', cosine: 'f32', sine: 'f32' },
  writes: { y: 'f32' },
  uniforms: { count: 'u32', T: 'u32', H: 'u32', half: 'u32', tableBatch: 'u32', sign: 'f32' },
  code: `${ELEMENTWISE_MAIN}
  let d = i % uniforms.half;
  let token = i / (uniforms.half * uniforms.H);
  let entry = select(token % uniforms.T, token, uniforms.tableBatch > 1u) * uniforms.half + d;
  let c = cosine[entry];
  let s = sine[entry] * uniforms.sign;
  let at = i / uniforms.half * 2u * uniforms.half + d;
  let first = x[at];
  let second = x[at + uniforms.half];
  y[at] = first * c - second * s;
  y[at + uniforms.half] = second * c + first * s;
}`,
};

export function rotaryEmbedding(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  cosine: tf.TensorInfo,
  sine: tf.TensorInfo,
  inverse: boolean,
): tf.TensorInfo {
  const [, T, H, D] = x.shape;
  const y = backend.makeTensorInfo(x.shape, 'float32');
  const count = sizeFromShape(x.shape) / 2;
  const tableBatch = cosine.shape.length === 3 ? cosine.shape[0] : 1;
  run(backend, ROTARY, {
    reads: { x, cosine, sine },
    writes: { y },
    uniforms: { count, T, H, half: D / 2, tableBatch, sign: inverse ? -1 : 1 },
    workgroups: workgroupsFor(count),
  });
  return y;
}

const SWIGLU: Kernel = {
  key: 'SwiGlu',
  reads: { gate: 'f32', up: 'f32' },
  writes: { y: 'f32' },
  uniforms: { count: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  y[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
}`,
};

export function swiGlu(backend: WebgpuBackend, gate: tf.TensorInfo, up: tf.TensorInfo): tf.TensorInfo {
  const y = backend.makeTensorInfo(gate.shape, 'float32');
  const count = sizeFromShape(gate.shape);
  run(backend, SWIGLU, {
    reads: { gate, up },
    writes: { y },
    uniforms: { count },
    workgroups: workgroupsFor(count),
  });
  return y;
}

const SWIGLU_GRAD: Kernel = {
  key: 'SwiGluGrad',
  reads: { dy: 'f32', gate: 'f32', up: 'f32' },
  writes: { dGate: 'f32', dUp: 'f32' },
  uniforms: { count: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  let sigmoid = 1.0 / (1.0 + exp(-gate[i]));
  dUp[i] = dy[i] * gate[i] * sigmoid;
  dGate[i] = dy[i] * up[i] * sigmoid * (1.0 + gate[i] * (1.0 - sigmoid));
}`,
};

export function swiGluGrad(
  backend: WebgpuBackend,
  dy: tf.TensorInfo,
  gate: tf.TensorInfo,
  up: tf.TensorInfo,
): tf.TensorInfo[] {
  const [dGate, dUp] = [gate, up].map(({ shape }) => backend.makeTensorInfo(shape, 'float32'));
  const count = sizeFromShape(gate.shape);
  run(backend, SWIGLU_GRAD, {
    reads: { dy, gate, up },
    writes: { dGate, dUp },
    uniforms: { count },
    workgroups: workgroupsFor(count),
  });
  return [dGate, dUp];
}

/**
 * Ids that only the device knows are checked there: a row of NaN, which the loss shows, in place of an error.
 */
const EMBEDDING: Kernel = {
  key: 'Embedding',
  reads: { ids: 'i32', table: 'f32' },
  writes: { y: 'f32' },
  uniforms: { count: 'u32', V: 'u32', C: 'u32' },
  code: `
${NAN()}
${ELEMENTWISE_MAIN}
  let id = u32(ids[i / uniforms.C]);
  if (id < uniforms.V) { y[i] = table[id * uniforms.C + i % uniforms.C]; } else { y[i] = nan(i); }
}`,
};

/** NaN made at run time: WGSL refuses one that its compiler can see. */
export function NAN(): string {
  return 'fn nan(i: u32) -> f32 { return bitcast<f32>(0x7fc00000u | (i & 1u)); }';
}

export function embedding(backend: WebgpuBackend, ids: tf.TensorInfo, table: tf.TensorInfo): tf.TensorInfo {
  const [V, C] = table.shape;
  requireIds(backend, 'embedding', ids, V);
  const y = backend.makeTensorInfo([...ids.shape, C], 'float32');
  const count = sizeFromShape(y.shape);
  run(backend, EMBEDDING, {
    reads: { ids, table },
    writes: { y },
    uniforms: { count, V, C },
    workgroups: workgroupsFor(count),
  });
  return y;
}

/** Checks ids that the host knows, which is all that it made itself. */
export function requireIds(backend: WebgpuBackend, op: string, ids: tf.TensorInfo, V: number): void {
  const at = backend.hostValues(ids)?.findIndex((id) => id < 0 || id >= V) ?? -1;
  if (at < 0) return;
  throw new Error(
    `${op}: id outside the vocabulary, got ${backend.hostValues(ids)![at]} at position ${at}, expected 0 to ${V - 1}`,
  );
}

/** Each row of the table sums its tokens in their order: no atomics, the same bits always. */
const EMBEDDING_GRAD: Kernel = {
  key: 'EmbeddingGrad',
  reads: { dy: 'f32', starts: 'i32', positions: 'i32' },
  writes: { dTable: 'f32' },
  uniforms: { count: 'u32', C: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  let row = i / uniforms.C;
  var sum = 0.0;
  for (var p = starts[row]; p < starts[row + 1u]; p++) { sum += dy[u32(positions[p]) * uniforms.C + i % uniforms.C]; }
  dTable[i] = sum;
}`,
};

/** For ids that only the device knows. */
const EMBEDDING_SCATTER: Kernel = {
  key: 'EmbeddingScatter',
  reads: { dy: 'f32', ids: 'i32' },
  writes: { dTable: 'atomic<u32>' },
  uniforms: { count: 'u32', V: 'u32', C: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  let id = u32(ids[i / uniforms.C]);
  if (id >= uniforms.V) { return; }
  let at = id * uniforms.C + i % uniforms.C;
  var seen = atomicLoad(&dTable[at]);
  loop {
    let result = atomicCompareExchangeWeak(&dTable[at], seen, bitcast<u32>(bitcast<f32>(seen) + dy[i]));
    if (result.exchanged) { break; }
    seen = result.old_value;
  }
}`,
};

export function embeddingGrad(
  backend: WebgpuBackend,
  dy: tf.TensorInfo,
  ids: tf.TensorInfo,
  V: number,
): tf.TensorInfo {
  const C = dy.shape[dy.shape.length - 1];
  const known = backend.hostValues(ids);
  if (!known) {
    const dTable = backend.makeTensorInfo([V, C], 'float32', new Float32Array(V * C));
    const count = sizeFromShape(dy.shape);
    run(backend, EMBEDDING_SCATTER, {
      reads: { dy, ids },
      writes: { dTable },
      uniforms: { count, V, C },
      workgroups: workgroupsFor(count),
    });
    return dTable;
  }
  const [starts, positions] = tokensByRow(known, V).map((values) =>
    backend.makeTensorInfo([values.length], 'int32', values),
  );
  const dTable = backend.makeTensorInfo([V, C], 'float32');
  run(backend, EMBEDDING_GRAD, {
    reads: { dy, starts, positions },
    writes: { dTable },
    uniforms: { count: V * C, C },
    workgroups: workgroupsFor(V * C),
  });
  for (const { dataId } of [starts, positions]) backend.disposeData(dataId);
  return dTable;
}

/** Where each row's tokens begin in a list of all tokens ordered by row. */
function tokensByRow(ids: tf.TypedArray, V: number): [starts: Int32Array, positions: Int32Array] {
  const starts = new Int32Array(V + 1);
  for (const id of ids) starts[id + 1] += 1;
  for (let row = 0; row < V; row++) starts[row + 1] += starts[row];
  const next = starts.slice();
  const positions = new Int32Array(ids.length);
  for (const [at, id] of ids.entries()) positions[next[id]++] = at;
  return [starts, positions];
}
