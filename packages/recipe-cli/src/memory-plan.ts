/** Estimates from shapes whether a run fits into memory. */
import { totalmem } from 'node:os';
import { bytes } from '@meap/dashboard';
import { containerLimits } from '@meap/tensor-kernels';
import { RunError } from './errors.ts';

/** Bytes of memory by purpose. */
export interface MemoryEstimate {
  weights: number;
  gradients: number;
  /** AdamW's two moments of the trained parameters; of matrices that Muon updates one buffer. */
  moments: number;
  activations: number;
  /** The sum of these and the base. */
  total: number;
  /** Not in the total: trained weights and their moments as in a checkpoint, not sharded. */
  checkpoint: number;
}

/** Sizes of a decoder, as in `config.json`, that determine the memory of its backward pass. */
export interface DecoderShape {
  hidden_size: number;
  num_attention_heads: number;
  num_hidden_layers: number;
  num_key_value_heads: number;
  head_dim: number;
  intermediate_size: number;
}

/** What determines a step's memory besides the model's shape. */
export interface StepShape {
  parameters: number;
  /** Mean bytes of a weight in memory: 4, or fewer for frozen weights in bfloat16, 8 or 4 bits. */
  weightBytes?: number;
  /** Values of an adapter in float32, in addition to the weights; 0 by default. */
  added?: number;
  /** Trained parameters: an adapter's, or all. */
  trained: number;
  /** Floats of the optimizer's state and of its work on one matrix; AdamW's by default. */
  optimizer?: { state: number; work: number };
  /** Positions of the largest micro-batch, with padding. */
  positions: number;
  /** Whether this process computes several micro-batches per step, and adds their gradients. */
  accumulates: boolean;
  /** ZeRO stage and the number of ranks that share the optimizer state; one process by default. */
  zero?: { stage: 0 | 1 | 2; numRanks: number };
  /** Whether blocks keep only their inputs for the backward pass. */
  recompute: boolean;
  /** Whether each block is two fused ops: without adapters and biases, on a backend with these ops. */
  fused: boolean;
  /** Numbers per token that the linear layers of a block keep of their outputs, as with DoRA; 0 by default. */
  keptOutputs?: number;
  /** With `recompute`, tokens per piece of long rows; absent if rows are no longer than a piece. */
  pieceTokens?: number;
  /** Bytes of Node.js, TensorFlow.js, compiled code and the program's other data. */
  base: number;
}

/** Measured: the pool rounds buffer sizes up and keeps buffers for the next step. */
const POOL_OVERHEAD = 1.15;

/**
 * Estimates the memory of training: float32 weights, gradients, AdamW's two moments, and the activations of the backward
 * pass.
 *
 * Per token, a fused block keeps two tensors of the residual's width (its input, the input of its second half), two of the
 * queries' width (queries, attention output), two of the keys' width and two of the feed-forward's. Other blocks keep every input of an op: seven,
 * two, three and three. The backward pass frees consumed tensors while it holds gradients; the factor for this is measured.
 * With recomputation, every block keeps its input and one block at a time the rest. For long rows, blocks also keep the
 * attention output, and one block the rest of one piece; its memory for whole rows (queries, keys, values, output, their
 * gradients, packed attention) is measured.
 */
export function estimateMemory(shape: DecoderShape, step: StepShape): MemoryEstimate {
  const {
    parameters,
    weightBytes = 4,
    added = 0,
    trained,
    optimizer = { state: 2 * trained, work: 0 },
    zero: { stage, numRanks } = { stage: 0, numRanks: 1 },
    positions,
    recompute,
    pieceTokens,
    keptOutputs = 0,
    base,
  } = step;
  const { hidden_size: hidden, num_hidden_layers: layers, intermediate_size: feedForward } = shape;
  const queryWidth = shape.num_attention_heads * shape.head_dim;
  const keyValueWidth = shape.num_key_value_heads * shape.head_dim;
  const single = 7 * hidden + 2 * queryWidth + 3 * keyValueWidth + 3 * feedForward + keptOutputs;
  const fused = 2 * hidden + 2 * queryWidth + 2 * keyValueWidth + 2 * feedForward;
  const block = step.fused ? (recompute ? 2 : 1) * fused : 1.65 * single;
  const head = 3 * hidden;
  const floats =
    recompute && pieceTokens
      ? positions * (2 * layers * hidden + head) +
        Math.max(positions * (11 * queryWidth + 8 * keyValueWidth), 2 * pieceTokens * single)
      : positions * ((recompute ? layers * hidden + block : layers * block) + head);
  const estimate = {
    weights: Math.round(weightBytes * parameters) + 4 * added,
    gradients: Math.round(gradientFloats(shape, step) * 4 * POOL_OVERHEAD),
    moments: Math.round((4 * optimizer.state) / (stage > 0 ? numRanks : 1)),
    // The optimizer's work comes after the backward pass, but the pool keeps the buffers of both.
    activations: Math.round(4 * (floats + optimizer.work) * POOL_OVERHEAD),
  };
  const total = base + Object.values(estimate).reduce((sum, bytes) => sum + bytes, 0);
  return { ...estimate, checkpoint: 4 * (trained + optimizer.state), total };
}

/** Elements of a gradient bucket, 25 MiB. */
const BUCKET_FLOATS = (25 * 2 ** 20) / 4;

/**
 * Returns the number of floats that gradients take. Measured: gradients arrive one at a time, but the pool keeps their
 * total size beside the sum. With ZeRO, a rank keeps its shard of the sums and three buckets; at stage 1 it adds its
 * micro-batches first.
 */
function gradientFloats(shape: DecoderShape, { trained, accumulates, zero }: StepShape): number {
  if (!zero || zero.stage === 0) return trained * (accumulates ? 2 : 1);
  const bucket = Math.max(BUCKET_FLOATS, shape.hidden_size * shape.intermediate_size);
  const whole = zero.stage === 1 && accumulates ? trained : 0;
  return whole + trained / zero.numRanks + Math.min(3 * bucket, trained);
}

/** An estimate compared with the available memory; `total` is what the machine holds. */
export interface MemoryPlan extends Omit<MemoryEstimate, 'checkpoint'> {
  /** Bytes of the checkpoint copy that lets training continue during a save; 0 if it does not fit. */
  checkpointCopy: number;
  /** `train.memory_limit_gib`, or the memory of the machine or container. */
  available: number;
  fits: boolean;
  /** Whether tensors are in a device's memory, whose size is not known here: the machine holds them as they are made and saved. */
  onDevice: boolean;
  /** Unused keys that would reduce memory. */
  remedies: readonly string[];
}

/** The memory available to a run, and the keys that would reduce its use. */
export interface MemoryBudget {
  /** `train.memory_limit_gib`; by default the memory of the machine or container. */
  limitGib?: number;
  /** Ranks that share the machine; 1 by default. */
  numLocalRanks?: number;
  /** Whether tensors are in memory of a device's own. */
  onDevice?: boolean;
  /** Keys that would reduce memory. */
  remedies: readonly string[];
}

/** Compares an estimate with the memory there is. */
export function planMemory(
  { checkpoint, ...estimate }: MemoryEstimate,
  { limitGib, numLocalRanks = 1, onDevice = false, remedies }: MemoryBudget,
): MemoryPlan {
  const available = limitGib === undefined ? availableMemory() / numLocalRanks : limitGib * 2 ** 30;
  const { gradients, moments, activations } = estimate;
  const held = estimate.total - (onDevice ? gradients + moments + activations : 0);
  const checkpointCopy = held + checkpoint <= available ? checkpoint : 0;
  const total = held + checkpointCopy;
  return {
    ...estimate,
    checkpointCopy,
    total,
    available,
    fits: total <= available,
    onDevice,
    remedies: onDevice ? ['a machine with more memory'] : remedies,
  };
}

/** Formats a plan for users. */
export function describeMemory(plan: MemoryPlan): string {
  const { weights, gradients, moments, activations, checkpointCopy } = plan;
  const parts = Object.entries({ weights, gradients, moments, activations }).map(
    ([name, size]) => `${name} ${bytes(size)}`,
  );
  const onDevice = plan.onDevice ? `on the device ${parts.splice(0).join(', ')}; ` : '';
  if (plan.onDevice) parts.push(`weights ${bytes(weights)} until they are there`);
  parts.push(
    checkpointCopy > 0 ? `checkpoint copy ${bytes(checkpointCopy)}` : 'no memory to save in the background',
  );
  const misfit = plan.fits ? '' : `; does not fit: ${describeMisfit(plan)}`;
  return `${onDevice}about ${bytes(plan.total)} of ${bytes(plan.available)}: ${parts.join(', ')}${misfit}`;
}

/** @throws RunError with the remedies where a plan does not fit */
export function requireMemory(plan: MemoryPlan): void {
  if (!plan.fits) throw new RunError(`memory: ${describeMisfit(plan)}`);
}

/** Describes why a plan does not fit, and the remedies. */
export function describeMisfit({ total, available, remedies }: MemoryPlan): string {
  return (
    `the run needs about ${bytes(total)}, got ${bytes(available)}; use ${remedies.join(', ')}, ` +
    'or set train.memory_limit_gib if more is available'
  );
}

/** Memory of the machine in bytes, or the limit of this process's container. */
export function availableMemory(): number {
  const { memoryBytes = totalmem() } = containerLimits();
  return Math.min(memoryBytes, totalmem());
}
