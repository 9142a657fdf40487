/**
 * Attention by cuDNN's fused kernels (FlashAttention), which XLA calls on CUDA. Their configuration is a
 * `CudnnfMHABackendConfig` of XLA as JSON, with which XLA chooses the kernel and its workspace.
 *
 * Shape suffixes as in reference.ts.
 */
import { stablehlo as hlo } from '@meap/pjrt';
import type { Dot, Floats } from './lowering.ts';
import { BATCH, fitting } from './sharding.ts';

type Rounded = hlo.Tensor<'bfloat16'>;

interface Inputs {
  q: Floats;
  k: Floats;
  v: Floats;
  segmentIds?: Floats;
}

interface Options {
  window: number;
  scale: number;
}

/** Widest head that all of cuDNN's fused kernels, forward and backward, take on every GPU since Ampere. */
const MAX_HEAD_SIZE = 128;

/** Whether cuDNN's kernels compute a call: bfloat16, queries at the positions of all keys, no segments. */
export function isFused({ q, k, segmentIds }: Inputs, dot: Dot): boolean {
  const [, T, , D] = q.shape;
  return dot.fusesAttention && !segmentIds && T === k.shape[1] && D % 8 === 0 && D <= MAX_HEAD_SIZE;
}

/** As `attentionForward`. */
export function fusedForward(
  { q, k, v }: Inputs,
  options: Options,
): [out_BTHD: Floats, logSumExp_BHT: Floats] {
  const onDevices = byHeads(q, k);
  const [out, logSumExp] = onDevices([q, k, v], ['heads', 'rows'], (q, k, v) => {
    const [B, T, H] = q.shape;
    const [out, logSumExp] = call('__cudnn$fmhaSoftmax', [q, k, v].map(round), {
      scores: [B, H, T, T],
      results: [transposed('bfloat16', q.shape), hlo.tensorType('float32', [B, H, T])],
      products: FORWARD_PRODUCTS,
      options,
    });
    return [widen(byPosition(out)), logSumExp];
  });
  return [out as Floats, logSumExp as Floats];
}

/** As `attentionBackward`. */
export function fusedBackward(
  { dy, q, k, v, out, logSumExp }: Inputs & Record<'dy' | 'out' | 'logSumExp', Floats>,
  options: Options,
): [dq: Floats, dk: Floats, dv: Floats] {
  const onDevices = byHeads(q, k);
  const gradients = onDevices(
    [q, k, v, logSumExp, dy, out],
    ['heads', 'heads', 'heads'],
    (q, k, v, logSumExp, dy, out) => {
      const [B, T, H] = q.shape;
      const operands = [round(q), round(k), round(v), logSumExp, round(dy), round(out)];
      return call('__cudnn$fmhaSoftmaxBackward', operands, {
        scores: [B, H, T, T],
        results: [q, k, v].map(({ shape }) => transposed('bfloat16', shape)),
        products: BACKWARD_PRODUCTS,
        options,
      }).map((gradient) => widen(byPosition(gradient)));
    },
  );
  const [dq, dk, dv] = gradients as Floats[];
  return [dq, dk, dv];
}

const round = (x: hlo.Tensor) => hlo.convert(x as Floats, 'bfloat16');
const widen = (x: hlo.Tensor) => hlo.convert(x as Rounded, 'float32');

/** `[B, T, H, D]` as `[B, H, T, D]`, in which XLA takes results of these calls: in memory they are as they were. */
const transposed = (type: 'bfloat16', [B, T, H, D]: readonly number[]) => hlo.tensorType(type, [B, H, T, D]);
const byPosition = (x: hlo.Tensor) => hlo.transpose(x, [0, 2, 1, 3]);

/** Calls a body with each device's rows of the batch and heads: XLA cannot split a call of another library. */
function byHeads(q: Floats, k: Floats) {
  // Query heads are split as key heads are, so that each stays beside its own.
  const [rows, , heads] = fitting([BATCH, [], ['tensor'], []], k.shape, hlo.currentMesh());
  const shardings = { heads: [rows, [], heads, []], rows: [rows, heads, []] };
  return (
    operands: readonly hlo.Tensor[],
    results: readonly (keyof typeof shardings)[],
    body: (...parts: hlo.Tensor[]) => readonly hlo.Tensor[],
  ) => {
    const given = operands.map(({ shape }) => shardings[shape.length === q.shape.length ? 'heads' : 'rows']);
    return hlo.onEachDevice(
      operands,
      given,
      results.map((name) => shardings[name]),
      body,
    );
  };
}

/** The contracted dimension of both operands of a product, then those of the batch. */
type ProductDimensions = readonly [
  contracted: readonly [number, number],
  ofOperands: readonly [Operand, Operand],
];

type Operand = keyof typeof BATCH_DIMENSIONS;

const BATCH_DIMENSIONS = { scores: ['0', '1'], heads: ['0', '2'] } as const;

/** Scores `[B, H, T, S]` from queries and keys `[B, T, H, D]`; outputs from scores and values. */
const FORWARD_PRODUCTS: Record<string, ProductDimensions> = {
  bmm1: [
    [3, 3],
    ['heads', 'heads'],
  ],
  bmm2: [
    [3, 1],
    ['scores', 'heads'],
  ],
};

/** dK from dScores and Q, dQ from dScores and K, dV from scores and dOut, dScores from dOut and V. */
const BACKWARD_PRODUCTS: Record<string, ProductDimensions> = {
  bmm1_grad_gemm1: [
    [2, 1],
    ['scores', 'heads'],
  ],
  bmm1_grad_gemm2: [
    [3, 1],
    ['scores', 'heads'],
  ],
  bmm2_grad_gemm1: [
    [2, 1],
    ['scores', 'heads'],
  ],
  bmm2_grad_gemm2: [
    [3, 3],
    ['heads', 'heads'],
  ],
};

/** Calls a kernel of cuDNN; returns its results without the workspace. */
function call(
  target: string,
  operands: readonly hlo.Tensor[],
  {
    scores,
    results,
    products,
    options: { window, scale },
  }: {
    scores: readonly number[];
    results: readonly ReturnType<typeof hlo.tensorType>[];
    products: typeof FORWARD_PRODUCTS;
    options: Options;
  },
): hlo.Tensor[] {
  const dimensionsOf = ([[left, right], [ofLeft, ofRight]]: ProductDimensions) => ({
    lhs_contracting_dimensions: [`${left}`],
    rhs_contracting_dimensions: [`${right}`],
    lhs_batch_dimensions: BATCH_DIMENSIONS[ofLeft],
    rhs_batch_dimensions: BATCH_DIMENSIONS[ofRight],
  });
  const config = {
    algorithm: {
      algo_id: '0',
      math_type: 'TENSOR_OP_MATH',
      tuning_knobs: { 17: '1', 24: '0' },
      is_cudnn_frontend: true,
      workspace_size: '0',
    },
    fmha_scale: scale,
    dropout_rate: 0,
    seed: 42,
    intermediate_tensor_shape: {
      element_type: 'BF16',
      dimensions: scores.map(String),
      tuple_shapes: [],
      layout: { minor_to_major: ['3', '2', '1', '0'], tiles: [] },
      is_dynamic_dimension: scores.map(() => false),
    },
    is_flash_attention: true,
    mask_type: 'CAUSAL',
    sliding_window_length: window,
    max_seg_per_batch: 1,
    is_paged_attention: false,
    ...Object.fromEntries(
      Object.entries(products).map(([name, one]) => [`${name}_dot_dimension_numbers`, dimensionsOf(one)]),
    ),
  };
  const layoutOf = ({ shape }: { shape: readonly number[] }) =>
    shape.length === 4 ? [3, 1, 2, 0] : shape.map((_, i) => shape.length - 1 - i);
  // XLA gives the workspace the size that the chosen kernel needs.
  const workspace = hlo.tensorType('uint8', [0]);
  return hlo
    .customCall(target, operands, [...results, workspace], {
      backendConfig: JSON.stringify({
        operation_queue_id: '0',
        cudnn_fmha_backend_config: config,
      }),
      resultLayouts: [...results.map(layoutOf), [0]],
    })
    .slice(0, -1);
}
