/** TensorFlow.js kernels of the `native` backend: each checks what the addon needs, allocates outputs, calls it. */
import * as tf from '@tensorflow/tfjs-core';
import type { NativeBackend } from './native-interface.ts';
import { registerKernels } from './register-kernels.ts';

interface Call {
  backend: NativeBackend;
  inputs: Record<string, tf.TensorInfo>;
  // biome-ignore lint/suspicious/noExplicitAny: TensorFlow.js types attributes loosely
  attrs: Record<string, any>;
}

const { sizeFromShape, arraysEqual } = tf.util;

/** Whether some input is not float32: JavaScript's kernel takes those. */
const someNotFloat = (...tensors: tf.TensorInfo[]) => tensors.some(({ dtype }) => dtype !== 'float32');

function optionalValues(backend: NativeBackend, tensor: tf.TensorInfo | undefined): tf.TypedArray | null {
  return tensor ? backend.values(tensor) : null;
}

/** Leading axes folded into rows. */
function rowsOf(tensor: tf.TensorInfo): [rows: number, columns: number] {
  const columns = tensor.shape[tensor.shape.length - 1];
  return [sizeFromShape(tensor.shape.slice(0, -1)), columns];
}

function attentionSizes(q: tf.TensorInfo, k: tf.TensorInfo, attrs: Call['attrs']): number[] {
  const [B, T, H, D] = q.shape;
  return [B, T, k.shape[1], H, k.shape[2], D, attrs.window, attrs.scale];
}

const kernels: Record<string, (call: Call) => tf.TensorInfo | tf.TensorInfo[]> = {
  Attention({ backend, inputs: { q, k, v, segmentIds, prefixIds }, attrs }) {
    const [B, T, H] = q.shape;
    const out = backend.allocate(q.shape);
    const logSumExp = backend.allocate([B, H, T]);
    backend.addon.attention(
      ...attentionSizes(q, k, attrs),
      ...[q, k, v].map((tensor) => backend.values(tensor)),
      optionalValues(backend, segmentIds),
      optionalValues(backend, prefixIds),
      out.values,
      logSumExp.values,
    );
    return [out.info, logSumExp.info];
  },

  AttentionGrad({ backend, inputs: { dy, q, k, v, out, logSumExp, segmentIds, prefixIds }, attrs }) {
    const [dq, dk, dv] = [q, k, v].map(({ shape }) => backend.allocate(shape));
    backend.addon.attentionGrad(
      ...attentionSizes(q, k, attrs),
      ...[q, k, v].map((tensor) => backend.values(tensor)),
      optionalValues(backend, segmentIds),
      optionalValues(backend, prefixIds),
      ...[out, logSumExp, dy].map((tensor) => backend.values(tensor)),
      ...[dq, dk, dv].map(({ values }) => values),
    );
    return [dq.info, dk.info, dv.info];
  },

  CachedAttention({ backend, inputs: { q, k, v, ...caches }, attrs }) {
    const [B, T, H, D] = q.shape;
    const out = backend.allocate(q.shape);
    const held = (side: string) => Array.from({ length: B }, (_, b) => backend.stored(caches[`${side}${b}`]));
    backend.addon.cachedAttention(
      B,
      T,
      H,
      k.shape[2],
      D,
      attrs.window,
      attrs.scale,
      ...[q, k, v].map((tensor) => backend.values(tensor)),
      attrs.lengths,
      held('keys'),
      held('values'),
      out.values,
    );
    return out.info;
  },

  RmsNorm({ backend, inputs: { x, weight }, attrs }) {
    const y = backend.allocate(x.shape);
    backend.addon.rmsNorm(...rowsOf(x), attrs.epsilon, backend.values(x), backend.values(weight), y.values);
    return y.info;
  },

  RmsNormGrad({ backend, inputs: { dy, x, weight, plus }, attrs }) {
    const dx = backend.allocate(x.shape);
    const dWeight = backend.allocate(weight.shape);
    const arrays = [dy, x, weight].map((tensor) => backend.values(tensor));
    const added = optionalValues(backend, plus);
    backend.addon.rmsNormGrad(...rowsOf(x), attrs.epsilon, ...arrays, added, dx.values, dWeight.values);
    return [dx.info, dWeight.info];
  },

  Product({ backend, inputs: { a, b, plus }, attrs: { transposeA, transposeB } }) {
    const [rows, columns] = rowsOf(a);
    const [M, K] = transposeA ? [columns, rows] : [rows, columns];
    const [rowsB, N] = transposeB ? [...rowsOf(b)].reverse() : rowsOf(b);
    if (rowsB !== K) throw new Error(`Product: inner dimensions differ, got ${K} and ${rowsB}`);
    const c = backend.allocate(transposeA ? [M, N] : [...a.shape.slice(0, -1), N]);
    const arrays = [backend.values(a), backend.stored(b), optionalValues(backend, plus)];
    const bfloat16 = backend.precision === 'bfloat16';
    backend.addon.gemm(1, M, N, K, transposeA, transposeB, false, false, bfloat16, ...arrays, c.values);
    return c.info;
  },

  RotaryEmbedding({ backend, inputs: { x, cos, sin }, attrs }) {
    const y = backend.allocate(x.shape);
    const tableBatch = cos.shape.length === 3 ? cos.shape[0] : 1;
    const arrays = [x, cos, sin].map((tensor) => backend.values(tensor));
    backend.addon.rotary(...x.shape, tableBatch, attrs.inverse, ...arrays, y.values);
    return y.info;
  },

  SwiGlu({ backend, inputs: { gate, up } }) {
    const y = backend.allocate(gate.shape);
    backend.addon.swiGlu(y.values.length, backend.values(gate), backend.values(up), y.values);
    return y.info;
  },

  SwiGluGrad({ backend, inputs: { dy, gate, up } }) {
    const dGate = backend.allocate(gate.shape);
    const dUp = backend.allocate(gate.shape);
    const arrays = [dy, gate, up].map((tensor) => backend.values(tensor));
    backend.addon.swiGluGrad(dGate.values.length, ...arrays, dGate.values, dUp.values);
    return [dGate.info, dUp.info];
  },

  Dropout({ backend, inputs: { x }, attrs: { rowKeys, dropBelow } }) {
    const y = backend.allocate(x.shape);
    const numRows = rowKeys.length / 2;
    backend.addon.dropout(
      numRows,
      y.values.length / numRows,
      dropBelow,
      rowKeys,
      backend.values(x),
      y.values,
    );
    return y.info;
  },

  Embedding({ backend, inputs: { ids, table } }) {
    const [V, C] = table.shape;
    const y = backend.allocate([...ids.shape, C]);
    const n = sizeFromShape(ids.shape);
    backend.addon.embedding(n, V, C, backend.values(ids), backend.stored(table), y.values);
    return y.info;
  },

  EmbeddingGrad({ backend, inputs: { dy, ids }, attrs: { numRows } }) {
    const C = dy.shape[dy.shape.length - 1];
    const dTable = backend.allocate([numRows, C]);
    const n = sizeFromShape(ids.shape);
    backend.addon.embeddingGrad(n, numRows, C, backend.values(dy), backend.values(ids), dTable.values);
    return dTable.info;
  },

  LinearCrossEntropy({ backend, inputs: { x, weight, targets, mask }, attrs: { gradients } }) {
    const [N, C] = x.shape;
    const losses = backend.allocate([N]);
    const dx = gradients === 'none' ? undefined : backend.allocate(x.shape);
    const dWeight = gradients === 'both' ? backend.allocate(weight.shape) : undefined;
    backend.addon.crossEntropy(
      N,
      weight.shape[0],
      C,
      backend.precision === 'bfloat16',
      ...[x, weight, targets].map((tensor) => backend.stored(tensor)),
      optionalValues(backend, mask),
      losses.values,
      null,
      dx?.values,
      dWeight?.values,
    );
    return [losses, dx, dWeight].flatMap((made) => (made ? [made.info] : []));
  },

  ScoreTokens({ backend, inputs: { x, weight, targets } }) {
    const [N, C] = x.shape;
    const losses = backend.allocate([N]);
    const greedyIds = new Int32Array(N);
    backend.addon.crossEntropy(
      N,
      weight.shape[0],
      C,
      backend.precision === 'bfloat16',
      ...[x, weight, targets].map((tensor) => backend.stored(tensor)),
      null,
      losses.values,
      greedyIds,
      null,
      null,
    );
    return [losses.info, backend.makeTensorInfo([N], 'int32', greedyIds)];
  },

  AdamW({ backend, inputs: { parameter, gradient, firstMoment, secondMoment }, attrs }) {
    const arrays = [parameter, gradient, firstMoment, secondMoment].map((tensor) => backend.stored(tensor));
    backend.addon.adamW(
      arrays[0].length,
      attrs.learningRate,
      attrs.beta1,
      attrs.beta2,
      attrs.epsilon,
      attrs.weightDecay,
      attrs.gradientScale,
      1 - attrs.beta1 ** attrs.step,
      1 - attrs.beta2 ** attrs.step,
      ...arrays,
    );
    return [];
  },

  StoreBfloat16({ backend, inputs: { x } }) {
    const y = backend.allocateHalves(x.shape);
    backend.addon.toBfloat16(y.values.length, backend.values(x) as Float32Array, y.values);
    return y.info;
  },

  SumsOfSquares({ backend, inputs }) {
    const tensors = Object.values(inputs);
    const { info, values } = backend.allocate([tensors.length, 2]);
    for (const [i, x] of tensors.entries()) {
      const array = backend.values(x) as Float32Array;
      // A float64 as the sum of two float32.
      const total = backend.addon.sumOfSquares(array.length, array);
      values[2 * i] = total;
      values[2 * i + 1] = total - values[2 * i];
    }
    return info;
  },
};

/** TensorFlow.js's own kernels where native code takes the common case; undefined hands back to JavaScript. */
const overrides: Record<string, (call: Call) => tf.TensorInfo | undefined> = {
  BatchMatMul({ backend, inputs: { a, b }, attrs: { transposeA, transposeB } }) {
    if (someNotFloat(a, b)) return undefined;
    const [rowsA, columnsA] = a.shape.slice(-2);
    const [rowsB, columnsB] = b.shape.slice(-2);
    const [M, K] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
    const [innerB, N] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
    if (K !== innerB) {
      throw new Error(
        `matMul: inner dimensions differ, got [${a.shape}]${transposeA ? 'ᵀ' : ''} and [${b.shape}]${transposeB ? 'ᵀ' : ''}`,
      );
    }
    const batchA = a.shape.slice(0, -2);
    const batchB = b.shape.slice(0, -2);
    const [sharedA, sharedB] = [sizeFromShape(batchA) === 1, sizeFromShape(batchB) === 1];
    if (!sharedA && !sharedB && !arraysEqual(batchA, batchB)) return undefined;
    const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
    const c = backend.allocate([...batchShape, M, N]);
    const [aValues, bValues] = [backend.values(a), backend.stored(b)];
    const bfloat16 = backend.precision === 'bfloat16';
    const batch = sizeFromShape(batchShape);
    const { gemm } = backend.addon;
    gemm(
      batch,
      M,
      N,
      K,
      transposeA,
      transposeB,
      sharedA,
      sharedB,
      bfloat16,
      aValues,
      bValues,
      null,
      c.values,
    );
    return c.info;
  },

  // JavaScript's kernel relabels integers as float32 and leaves their array as it is; native code reads the array.
  Cast({ backend, inputs: { x }, attrs: { dtype } }) {
    if (x.dtype === dtype || !['int32', 'bool'].includes(x.dtype)) return undefined;
    const values = backend.values(x);
    if (dtype === 'int32') return backend.makeTensorInfo(x.shape, dtype, Int32Array.from(values));
    if (dtype !== 'float32') return undefined;
    const y = backend.allocate(x.shape);
    y.values.set(values);
    return y.info;
  },

  Add: elementwise('add'),
  Multiply({ backend, inputs: { a, b }, attrs }) {
    if (someNotFloat(a, b)) return undefined;
    const [scalar, other] = sizeFromShape(a.shape) === 1 ? [a, b] : [b, a];
    if (sizeFromShape(scalar.shape) !== 1 || scalar.shape.length > other.shape.length) {
      return elementwise('multiply')({ backend, inputs: { a, b }, attrs });
    }
    const factor = backend.values(scalar)[0];
    if (factor === 1) {
      backend.incRef(other.dataId);
      return { dataId: other.dataId, shape: other.shape, dtype: other.dtype };
    }
    const y = backend.allocate(other.shape);
    const values = backend.values(other) as Float32Array;
    backend.addon.scale(values.length, factor, values, y.values);
    return y.info;
  },
};

function elementwise(op: 'add' | 'multiply'): (call: Call) => tf.TensorInfo | undefined {
  return ({ backend, inputs: { a, b } }) => {
    if (someNotFloat(a, b) || !arraysEqual(a.shape, b.shape)) return undefined;
    const y = backend.allocate(a.shape);
    const [aValues, bValues] = [backend.values(a), backend.values(b)] as Float32Array[];
    backend.addon[op](y.values.length, aValues, bValues, y.values);
    return y.info;
  };
}

/** Adds this package's kernels to the `native` backend, over the JavaScript ones already there. */
export function registerNativeKernels(): void {
  registerKernels('native', kernels, overrides);
}
