/** Whether a run will fit, from shapes alone. */
import { totalmem } from 'node:os';
import { bytes } from '@meap/dashboard';
import { containerLimits } from '@meap/tensor-kernels';
import { RunError } from './errors.ts';

/** Bytes of memory by purpose. */
export interface MemoryEstimate {
  weights: number;
  gradients: number;
  /** AdamW's two moments of what is trained. */
  moments: number;
  activations: number;
  /** All of these and the base. */
  total: number;
  /** Not in the total: weights and moments of what is trained, whole, as a checkpoint has them. */
  checkpoint: number;
}

/** The sizes of a decoder that decide what its backward pass holds; a `config.json` has them. */
export interface DecoderShape {
  hidden_size: number;
  num_hidden_layers: number;
  num_key_value_heads: number;
  head_dim: number;
  intermediate_size: number;
}

/** What decides a step's memory besides the model's shape. */
export interface StepShape {
  parameters: number;
  /** Bytes of a weight in memory: 4, unless frozen ones are held as bfloat16. */
  weightBytes?: 2 | 4;
  /** Values of an adapter in memory beside them, in float32; none by default. */
  added?: number;
  /** Parameters that are trained: an adapter's, or all. */
  trained: number;
  /** Places of the largest micro-batch, padding included. */
  places: number;
  /** Whether more than one micro-batch makes a step of this process: gradients are then added to a sum. */
  accumulates: boolean;
  /** Ranks that share out the optimizer's work, and the stage of ZeRO; this process alone unless given. */
  zero?: { stage: 0 | 1 | 2; numRanks: number };
  /** Whether blocks keep only their inputs for the backward pass. */
  recompute: boolean;
  /** Whether blocks are two fused ops each: those without adapters and biases, on a backend with these ops. */
  fused: boolean;
  /** Tokens that long rows are worked through at once with `recompute`; absent where rows are no longer than that. */
  pieceTokens?: number;
  /** Bytes of Node.js, TensorFlow.js, compiled code and what the program holds besides. */
  base: number;
}

/** Buffers are handed out in sizes of which a tensor fills most, and kept for the next step: measured. */
const POOL_OVERHEAD = 1.15;

/**
 * Estimates the memory of training: weights, gradients, AdamW's two moments, float32, and what the backward pass holds.
 *
 * A fused block keeps, per token, four tensors of the residual's width (its input, that of its second half, queries and
 * what attention gave), two of the keys' and two of the feed-forward's. Any other keeps nine, three and three: every
 * input of an op. The backward pass frees what it has consumed, and holds gradients beside it; how much of a block that
 * makes is measured. With recomputation a block holds its input, and one block at a time the rest; of long rows it also
 * holds what attention gave, and the rest of it for one piece at a time. What one block then holds of a whole row
 * (queries, keys, values, output, their gradients, what attention packs) is measured.
 */
export function estimateMemory(shape: DecoderShape, step: StepShape): MemoryEstimate {
  const {
    parameters,
    weightBytes = 4,
    added = 0,
    trained,
    zero: { stage, numRanks } = { stage: 0, numRanks: 1 },
    places,
    recompute,
    pieceTokens,
    base,
  } = step;
  const { hidden_size: hidden, num_hidden_layers: layers, intermediate_size: feedForward } = shape;
  const keyValueWidth = shape.num_key_value_heads * shape.head_dim;
  const single = 9 * hidden + 3 * keyValueWidth + 3 * feedForward;
  const fused = 4 * hidden + 2 * keyValueWidth + 2 * feedForward;
  const block = step.fused ? (recompute ? 2 : 1) * fused : 1.65 * single;
  const head = 3 * hidden;
  const floats =
    recompute && pieceTokens
      ? places * (2 * layers * hidden + head) +
        Math.max(places * (11 * hidden + 8 * keyValueWidth), 2 * pieceTokens * single)
      : places * ((recompute ? layers * hidden + block : layers * block) + head);
  const estimate = {
    weights: weightBytes * parameters + 4 * added,
    gradients: Math.round(gradientFloats(shape, step) * 4 * POOL_OVERHEAD),
    moments: Math.round((8 * trained) / (stage > 0 ? numRanks : 1)),
    activations: Math.round(4 * floats * POOL_OVERHEAD),
  };
  const total = base + Object.values(estimate).reduce((sum, bytes) => sum + bytes, 0);
  return { ...estimate, checkpoint: 12 * trained, total };
}

/** Elements of a bucket of gradients on its way between ranks, 25 MiB. */
const BUCKET_FLOATS = (25 * 2 ** 20) / 4;

/**
 * Numbers that gradients take. Gradients come one at a time, but the pool keeps as much as they take beside the sum to
 * which they are added: measured. A rank with ZeRO keeps its part of the sums and three buckets, one being filled; at
 * stage 1 it adds up its micro-batches before.
 */
function gradientFloats(shape: DecoderShape, { trained, accumulates, zero }: StepShape): number {
  if (!zero || zero.stage === 0) return trained * (accumulates ? 2 : 1);
  const bucket = Math.max(BUCKET_FLOATS, shape.hidden_size * shape.intermediate_size);
  const whole = zero.stage === 1 && accumulates ? trained : 0;
  return whole + trained / zero.numRanks + Math.min(3 * bucket, trained);
}

/** An estimate, and whether there is as much. */
export interface MemoryPlan extends Omit<MemoryEstimate, 'checkpoint'> {
  /** Of what a checkpoint holds, so that training goes on while it is saved; 0 where there is no room for it. */
  checkpointCopy: number;
  /** What the run may take: `train.memory_limit_gib`, else the machine's memory or its container's. */
  available: number;
  fits: boolean;
  /** Keys that would make it smaller and are not used yet. */
  remedies: readonly string[];
}

/** What a run may take, and what its user can change. */
export interface MemoryBudget {
  /** `train.memory_limit_gib`; by default what the machine or its container has. */
  limitGib?: number;
  /** Ranks that share the machine; 1 by default. */
  numLocalRanks?: number;
  /** Keys that would make the run smaller. */
  remedies: readonly string[];
}

/** Compares an estimate with the memory there is. */
export function planMemory(
  { checkpoint, ...estimate }: MemoryEstimate,
  { limitGib, numLocalRanks = 1, remedies }: MemoryBudget,
): MemoryPlan {
  const available = limitGib === undefined ? availableMemory() / numLocalRanks : limitGib * 2 ** 30;
  const checkpointCopy = estimate.total + checkpoint <= available ? checkpoint : 0;
  const total = estimate.total + checkpointCopy;
  return { ...estimate, checkpointCopy, total, available, fits: total <= available, remedies };
}

/** The parts of a plan, as people read them. */
export function describeMemory(plan: MemoryPlan): string {
  const { weights, gradients, moments, activations, checkpointCopy } = plan;
  const parts = Object.entries({ weights, gradients, moments, activations }).map(
    ([name, size]) => `${name} ${bytes(size)}`,
  );
  parts.push(
    checkpointCopy > 0 ? `copy to save ${bytes(checkpointCopy)}` : 'no room to save beside training',
  );
  const misfit = plan.fits ? '' : `; does not fit: ${describeMisfit(plan)}`;
  return `about ${bytes(plan.total)} of ${bytes(plan.available)}: ${parts.join(', ')}${misfit}`;
}

/** @throws RunError with the remedies where a plan does not fit */
export function requireMemory(plan: MemoryPlan): void {
  if (!plan.fits) throw new RunError(`memory: ${describeMisfit(plan)}`);
}

/** What is wrong with a plan that does not fit, and what to do about it. */
export function describeMisfit({ total, available, remedies }: MemoryPlan): string {
  return (
    `the run would take about ${bytes(total)}, got ${bytes(available)}; use ${remedies.join(', ')}, ` +
    'or set train.memory_limit_gib if there is more'
  );
}

/** Memory of the machine in bytes, or the limit of this process's container. */
export function availableMemory(): number {
  const { memoryBytes = totalmem() } = containerLimits();
  return Math.min(memoryBytes, totalmem());
}
