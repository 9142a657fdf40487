/**
 * TensorFlow.js kernels of the `native` backend: each allocates its outputs and calls the addon.
 *
 * Arguments are object literals with all their fields: a spread costs microseconds a call, which small rows notice.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Matrix } from './addon-interface.ts';
import { matMulOf, rowsOf, scalarOperand, sharing } from './kernel-shapes.ts';
import type { KernelCall, KernelName, Kernels } from './kernel-signatures.ts';
import type { NativeBackend } from './native-interface.ts';
import { registerKernels } from './register-kernels.ts';

type Call<Name extends KernelName> = KernelCall<NativeBackend, Name>;

const { sizeFromShape, arraysEqual } = tf.util;

/** Whether an input is not float32; such calls are left to JavaScript's kernel. */
const someNotFloat = (...tensors: tf.TensorInfo[]) => tensors.some(({ dtype }) => dtype !== 'float32');

const optionalFloats = (backend: NativeBackend, tensor: tf.TensorInfo | undefined) =>
  tensor ? backend.floats(tensor) : null;
const optionalInts = (backend: NativeBackend, tensor: tf.TensorInfo | undefined) =>
  tensor ? backend.ints(tensor) : null;
const isBfloat16 = (backend: NativeBackend) => backend.precision === 'bfloat16';

/** Sizes and inputs of attention, forward and backward. */
function attentionInputs({
  backend,
  inputs: { q, k, v, segmentIds, prefixIds },
  attrs,
}: Call<'Attention' | 'AttentionGrad'>) {
  const [B, T, H, D] = q.shape;
  return {
    B,
    T,
    S: k.shape[1],
    H,
    G: k.shape[2],
    D,
    window: attrs.window,
    scale: attrs.scale,
    q: backend.floats(q),
    k: backend.floats(k),
    v: backend.floats(v),
    segmentIds: optionalInts(backend, segmentIds),
    prefixIds: optionalInts(backend, prefixIds),
  };
}

/** Sizes and inputs of head and loss. */
function headInputs({ backend, inputs: { x, weight, targets } }: Call<'LinearCrossEntropy' | 'ScoreTokens'>) {
  return {
    N: x.shape[0],
    V: weight.shape[0],
    C: x.shape[1],
    bfloat16: isBfloat16(backend),
    x: backend.floats(x),
    weight: backend.stored(weight) as Matrix,
    targets: backend.ints(targets),
  };
}

const kernels: Kernels<NativeBackend> = {
  Attention(call) {
    const { backend, inputs } = call;
    const [B, T, H] = inputs.q.shape;
    const [out, logSumExp] = [inputs.q.shape, [B, H, T]].map((shape) => backend.allocate(shape));
    backend.addon.attention({
      ...attentionInputs(call),
      out: out.values,
      logSumExp: logSumExp.values,
    });
    return [out.info, logSumExp.info];
  },

  AttentionGrad(call) {
    const { dy, q, k, v, out, logSumExp } = call.inputs;
    const { backend } = call;
    const [dq, dk, dv] = [q, k, v].map(({ shape }) => backend.allocate(shape));
    backend.addon.attentionGrad({
      ...attentionInputs(call),
      out: backend.floats(out),
      logSumExp: backend.floats(logSumExp),
      dOut: backend.floats(dy),
      dq: dq.values,
      dk: dk.values,
      dv: dv.values,
    });
    return [dq.info, dk.info, dv.info];
  },

  CachedAttention({ backend, inputs: { q, k, v, ...caches }, attrs: { window, scale, lengths } }) {
    const [B, T, H, D] = q.shape;
    const out = backend.allocate(q.shape);
    const held = (side: 'keys' | 'values') =>
      Array.from({ length: B }, (_, b) => backend.stored(caches[`${side}${b}`]) as Float32Array);
    backend.addon.cachedAttention({
      B,
      T,
      H,
      G: k.shape[2],
      D,
      window,
      scale,
      lengths,
      q: backend.floats(q),
      k: backend.floats(k),
      v: backend.floats(v),
      keys: held('keys'),
      values: held('values'),
      out: out.values,
    });
    return out.info;
  },

  RmsNorm({ backend, inputs: { x, weight }, attrs: { epsilon } }) {
    const { info, values: y } = backend.allocate(x.shape);
    const [rows, C] = rowsOf(x);
    backend.addon.rmsNorm({ rows, C, epsilon, x: backend.floats(x), weight: backend.floats(weight), y });
    return info;
  },

  RmsNormGrad({ backend, inputs: { dy, x, weight, plus }, attrs: { epsilon } }) {
    const [dx, dWeight] = [x, weight].map(({ shape }) => backend.allocate(shape));
    const [rows, C] = rowsOf(x);
    backend.addon.rmsNormGrad({
      rows,
      C,
      epsilon,
      dy: backend.floats(dy),
      x: backend.floats(x),
      weight: backend.floats(weight),
      plus: optionalFloats(backend, plus),
      dx: dx.values,
      dWeight: dWeight.values,
    });
    return [dx.info, dWeight.info];
  },

  Product({ backend, inputs: { a, b, plus }, attrs: { transposeA, transposeB } }) {
    const [rows, columns] = rowsOf(a);
    const [M, K] = transposeA ? [columns, rows] : [rows, columns];
    const [rowsB, N] = transposeB ? [...rowsOf(b)].reverse() : rowsOf(b);
    if (rowsB !== K) throw new Error(`Product: inner dimensions differ, got ${K} and ${rowsB}`);
    const c = backend.allocate(transposeA ? [M, N] : [...a.shape.slice(0, -1), N]);
    backend.addon.gemm({
      batch: 1,
      M,
      N,
      K,
      transposeA,
      transposeB,
      sharedA: false,
      sharedB: false,
      bfloat16: isBfloat16(backend),
      a: backend.floats(a),
      b: backend.stored(b) as Matrix,
      plus: optionalFloats(backend, plus),
      c: c.values,
    });
    return c.info;
  },

  RotaryEmbedding({ backend, inputs: { x, cos, sin }, attrs: { inverse } }) {
    const y = backend.allocate(x.shape);
    const [B, T, H, D] = x.shape;
    backend.addon.rotary({
      B,
      T,
      H,
      D,
      tableBatch: cos.shape.length === 3 ? cos.shape[0] : 1,
      inverse,
      x: backend.floats(x),
      cos: backend.floats(cos),
      sin: backend.floats(sin),
      y: y.values,
    });
    return y.info;
  },

  SwiGlu({ backend, inputs: { gate, up } }) {
    const { info, values: y } = backend.allocate(gate.shape);
    backend.addon.swiGlu({ n: y.length, gate: backend.floats(gate), up: backend.floats(up), y });
    return info;
  },

  SwiGluGrad({ backend, inputs: { dy, gate, up } }) {
    const [dGate, dUp] = [gate, up].map(({ shape }) => backend.allocate(shape));
    backend.addon.swiGluGrad({
      n: dGate.values.length,
      dy: backend.floats(dy),
      gate: backend.floats(gate),
      up: backend.floats(up),
      dGate: dGate.values,
      dUp: dUp.values,
    });
    return [dGate.info, dUp.info];
  },

  Dropout({ backend, inputs: { x }, attrs: { rowKeys: keys, dropBelow } }) {
    const { info, values: y } = backend.allocate(x.shape);
    const rows = keys.length / 2;
    backend.addon.dropout({ rows, n: y.length / rows, dropBelow, keys, x: backend.floats(x), y });
    return info;
  },

  Embedding({ backend, inputs: { ids, table } }) {
    const [V, C] = table.shape;
    const { info, values: y } = backend.allocate([...ids.shape, C]);
    const n = sizeFromShape(ids.shape);
    const tableValues = backend.stored(table) as Matrix;
    backend.addon.embedding({ n, V, C, ids: backend.ints(ids), table: tableValues, y });
    return info;
  },

  EmbeddingGrad({ backend, inputs: { dy, ids }, attrs: { numRows: V } }) {
    const [n, C] = rowsOf(dy);
    const { info, values: dTable } = backend.allocate([V, C]);
    backend.addon.embeddingGrad({ n, V, C, dy: backend.floats(dy), ids: backend.ints(ids), dTable });
    return info;
  },

  LinearCrossEntropy(call) {
    const { backend, inputs, attrs } = call;
    const { x, weight, mask } = inputs;
    const losses = backend.allocate([x.shape[0]]);
    const squares = attrs.zLoss > 0 ? backend.allocate([x.shape[0]]) : undefined;
    const dx = attrs.gradients === 'none' ? undefined : backend.allocate(x.shape);
    const dWeight = attrs.gradients === 'both' ? backend.allocate(weight.shape) : undefined;
    backend.addon.linearCrossEntropy({
      ...headInputs(call),
      zLoss: attrs.zLoss,
      mask: optionalFloats(backend, mask),
      losses: losses.values,
      squares: squares?.values ?? null,
      greedyIds: null,
      dx: dx?.values ?? null,
      dWeight: dWeight?.values ?? null,
    });
    return [losses, squares, dx, dWeight].flatMap((output) => output?.info ?? []);
  },

  ScoreTokens(call) {
    const { backend, inputs } = call;
    const N = inputs.x.shape[0];
    const losses = backend.allocate([N]);
    const greedyIds = new Int32Array(N);
    backend.addon.linearCrossEntropy({
      ...headInputs(call),
      zLoss: 0,
      mask: null,
      losses: losses.values,
      squares: null,
      greedyIds,
      dx: null,
      dWeight: null,
    });
    return [losses.info, backend.makeTensorInfo([N], 'int32', greedyIds)];
  },

  AdamW({ backend, inputs: { parameter, gradient, firstMoment, secondMoment }, attrs }) {
    const { step, learningRate, beta1, beta2, epsilon, weightDecay, gradientScale } = attrs;
    backend.addon.adamW({
      n: sizeFromShape(parameter.shape),
      learningRate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      gradientScale,
      correction1: 1 - beta1 ** step,
      correction2: 1 - beta2 ** step,
      // Changed in place, so not copies.
      parameter: backend.stored(parameter) as Float32Array,
      gradient: backend.floats(gradient),
      firstMoment: backend.stored(firstMoment) as Float32Array,
      secondMoment: backend.stored(secondMoment) as Float32Array,
    });
    return [];
  },

  Muon({ backend, inputs: { parameter, gradient, momentumBuffer }, attrs }) {
    const [M, N] = parameter.shape;
    const m = Math.min(M, N);
    const work = backend.allocate([2 * (M * N + m * m)]);
    backend.addon.muon({
      ...{ M, N, ...attrs, bfloat16: isBfloat16(backend), work: work.values },
      // Changed in place, so not copies.
      parameter: backend.stored(parameter) as Float32Array,
      gradient: backend.floats(gradient),
      momentumBuffer: backend.stored(momentumBuffer) as Float32Array,
    });
    backend.disposeData(work.info.dataId);
    return [];
  },

  StoreBfloat16({ backend, inputs: { x } }) {
    const { info, values: y } = backend.allocateBfloat16(x.shape);
    backend.addon.toBfloat16({ n: y.length, x: backend.floats(x), y });
    return info;
  },

  StoreQuantized({ backend, inputs: { x }, attrs: { format } }) {
    const { info, values: y } = backend.allocateQuantized(x.shape, format);
    const n = sizeFromShape(x.shape);
    const stored = backend.stored(x);
    if (stored instanceof Uint16Array) {
      // A recycled buffer: large arrays of JavaScript are freed late.
      const floats = backend.allocate(x.shape);
      backend.addon.fromBfloat16({ n, x: stored, y: floats.values });
      backend.addon.quantize({ n, x: floats.values, y });
      backend.disposeData(floats.info.dataId);
    } else {
      backend.addon.quantize({ n, x: backend.floats(x), y });
    }
    return info;
  },

  SumsOfSquares({ backend, inputs }) {
    const tensors = Object.values(inputs);
    const { info, values } = backend.allocate([tensors.length, 2]);
    for (const [i, tensor] of tensors.entries()) {
      const x = backend.floats(tensor);
      // A float64 as the sum of two float32.
      const total = backend.addon.sumOfSquares({ n: x.length, x });
      values[2 * i] = total;
      values[2 * i + 1] = total - values[2 * i];
    }
    return info;
  },
};

/** Common cases of TensorFlow.js's own kernels; undefined leaves the call to JavaScript. */
const overrides: Kernels<NativeBackend, tf.TensorInfo | undefined> = {
  BatchMatMul({ backend, inputs: { a, b }, attrs }) {
    const product = matMulOf(a, b, attrs);
    if (!product) return undefined;
    const c = backend.allocate(product.shape);
    backend.addon.gemm({
      ...product.sizes,
      bfloat16: isBfloat16(backend),
      a: backend.floats(a),
      b: backend.stored(b) as Matrix,
      plus: null,
      c: c.values,
    });
    return c.info;
  },

  // JavaScript's kernel keeps the array of integers and changes only the dtype; native code reads the array.
  Cast({ backend, inputs: { x }, attrs: { dtype } }) {
    if (x.dtype === dtype || !['int32', 'bool'].includes(x.dtype)) return undefined;
    const values = backend.stored(x);
    if (dtype === 'int32') return backend.makeTensorInfo(x.shape, dtype, Int32Array.from(values));
    if (dtype !== 'float32') return undefined;
    const y = backend.allocate(x.shape);
    y.values.set(values);
    return y.info;
  },

  Add: elementwise('add'),
  Multiply(call) {
    const { backend, inputs } = call;
    const operands = scalarOperand(inputs.a, inputs.b);
    if (!operands || someNotFloat(...operands)) return elementwise('multiply')(call);
    const [scalar, other] = operands;
    const factor = backend.floats(scalar)[0];
    if (factor === 1) return sharing(backend, other);
    const { info, values: y } = backend.allocate(other.shape);
    backend.addon.scale({ n: y.length, factor, a: backend.floats(other), y });
    return info;
  },
};

function elementwise(op: 'add' | 'multiply'): (call: Call<'Add' | 'Multiply'>) => tf.TensorInfo | undefined {
  return ({ backend, inputs: { a, b } }) => {
    if (someNotFloat(a, b) || !arraysEqual(a.shape, b.shape)) return undefined;
    const { info, values: y } = backend.allocate(a.shape);
    backend.addon[op]({ n: y.length, a: backend.floats(a), b: backend.floats(b), y });
    return info;
  };
}

/** Registers the kernels of the `native` backend, over the JavaScript ones. */
export function registerNativeKernels(): void {
  registerKernels('native', kernels, overrides);
}
