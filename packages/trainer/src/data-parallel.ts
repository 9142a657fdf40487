/**
 * A data-parallel training step: rank r of N computes micro-batches r, r + N, …, each with the position it has in a single
 * process, so that masks and dropout are the same. Gradients are summed over all ranks during the backward pass; losses
 * and counts are summed in float64.
 */
import * as tf from '@tensorflow/tfjs-core';
import { backward } from './backward.ts';
import { TrainerError } from './errors.ts';
import { GradientExchange, planBuckets } from './gradient-buckets.ts';
import { addTo, gatherSums, noTargets, readSums, type StepSums } from './gradients.ts';
import { requireLossSum } from './loss-sum.ts';
import type { RankGroup } from './rank-group.ts';
import { broadcastTensors } from './rank-tensors.ts';
import { type StepOptions, type StepReading, type TrainingStep, unshardedTensors } from './training-step.ts';
import { zeroOptimizer } from './zero.ts';

/** ZeRO stage: 1 shards optimizer state over the ranks, 2 also gradients (Rajbhandari et al. 2020, arXiv 1910.02054). */
export type ZeroStage = 0 | 1 | 2;

/** Options of {@link dataParallelStep}. */
export interface DataParallelOptions<Batch> extends StepOptions<Batch> {
  ranks: RankGroup;
  zeroStage: ZeroStage;
  /** Elements of a bucket; 25 MiB by default. */
  bucketSize?: number;
}

/** Creates a step that ranks compute together. */
export function dataParallelStep<Batch>(options: DataParallelOptions<Batch>): TrainingStep {
  const { parameters, optimizer, ranks, zeroStage, microBatches, bucketSize } = options;
  if (microBatches % ranks.size !== 0) {
    throw new TrainerError(
      `train: ${microBatches} micro-batches per step cannot be shared by ${ranks.size} ranks, expected a multiple of ` +
        `${ranks.size}: use smaller micro-batches, or a number of ranks that divides ${microBatches}`,
    );
  }
  if (zeroStage > 0 && optimizer.needsWholeParameters) {
    throw new TrainerError(
      `train: zeroStage ${zeroStage} with an optimizer that needs whole parameters, as Muon does, expected 0: ranks would ` +
        'hold parts of matrices',
    );
  }
  const buckets = planBuckets(parameters, ranks.size, bucketSize);
  const scatter = zeroStage > 0;
  const newExchange = () => new GradientExchange(buckets, ranks.collectives, { scatter });
  const accumulate = (step: number, { lossScale = 1 }: StepReading = {}) =>
    accumulateAcross({ ...options, step, lossScale, newExchange });
  if (scatter) return { accumulate, ...zeroOptimizer(optimizer, parameters, buckets, ranks) };
  const state = optimizer.init(parameters);
  const whole = unshardedTensors(state);
  return {
    ...whole,
    state,
    accumulate,
    async update({ gradients }, learningRate, gradientScale) {
      optimizer.update(state, { parameters, gradients, learningRate, gradientScale });
    },
    async load(path) {
      if (ranks.isFirst) await whole.load(path);
      await broadcastTensors(ranks, state.tensors.values());
    },
  };
}

/** @throws TrainerError if ranks have different data, models or recipes */
export async function requireSameOnAll(
  ranks: RankGroup,
  fingerprints: Readonly<Record<string, string | number>>,
): Promise<void> {
  const [first, ...others] = await ranks.exchange(fingerprints);
  for (const [i, other] of others.entries()) {
    for (const name of new Set([...Object.keys(first), ...Object.keys(other)])) {
      if (first[name] === other[name]) continue;
      throw new TrainerError(
        `train: ranks differ in ${name}, rank 0 has ${first[name]} and rank ${i + 1} has ${other[name]}: give all ranks ` +
          'the same recipe, model and data',
      );
    }
  }
}

interface AccumulateAcrossOptions<Batch> extends DataParallelOptions<Batch> {
  step: number;
  lossScale: number;
  newExchange: () => GradientExchange;
}

async function accumulateAcross<Batch>(
  options: AccumulateAcrossOptions<Batch>,
): Promise<StepSums | undefined> {
  const { parameters, loss, batches, microBatches, signal, ranks, zeroStage } = options;
  const { step, lossScale, newExchange } = options;
  const { rank, size } = ranks;
  const losses: tf.Scalar[] = [];
  const zLosses: tf.Scalar[] = [];
  const found = new Set<string>();
  const own = { count: 0, tokens: 0 };
  // Gradients not sent yet, and sums over all ranks.
  const unsent = new Map<string, tf.Tensor>();
  const sums = new Map<string, tf.Tensor>();
  let exchange: GradientExchange | undefined;
  try {
    for (let first = 0; first < microBatches; first += size) {
      // A macrotask, so that signal handlers and progress bars run between two batches.
      await new Promise(setImmediate);
      if (await ranks.any(signal?.aborted === true)) return undefined;
      const position = { step, microBatch: first + rank };
      const batch = await batches(position);
      // Stage 2 sends the gradients of every micro-batch; other stages send their sum with the last.
      if (zeroStage === 2 || first + size >= microBatches) exchange = newExchange();
      const computeLoss = () => {
        const result = loss(batch, position);
        const sum = requireLossSum('loss', result);
        const { count, tokens = count, zLoss } = result;
        if (zLoss) zLosses.push(tf.keep(zLoss as tf.Scalar));
        own.count += count;
        own.tokens += tokens;
        return lossScale === 1 ? sum : sum.mul<tf.Scalar>(lossScale);
      };
      const value = await backward(computeLoss, parameters, async (name, gradient) => {
        found.add(name);
        addTo(unsent, name, gradient);
        if (exchange) await send(name);
      });
      losses.push(value);
      if (!exchange) continue;
      for (const name of unsent.keys()) await send(name);
      for (const [name, gradient] of await exchange.finish()) addTo(sums, name, gradient);
      exchange = undefined;
    }
    const total = await addUp();
    if (total.count === 0) throw noTargets(step);
    const gradients = new Map([...sums].filter(([name]) => total.found.has(name)));
    for (const name of gradients.keys()) sums.delete(name);
    return { ...total, gradients, lossScale };
  } finally {
    exchange?.dispose();
    tf.dispose([losses, zLosses, ...unsent.values(), ...sums.values()]);
  }

  async function send(name: string): Promise<void> {
    const gradient = unsent.get(name)!;
    unsent.delete(name);
    await exchange!.add(name, gradient);
  }

  /** Sums over all ranks, with the same bits on each, so that all take the same decisions. */
  async function addUp() {
    // Without sharding, all ranks hold the same sums: each squares a part of them.
    const isOwn = (index: number) => zeroStage > 0 || index % size === rank;
    const squared = [...sums.values()].filter((_, index) => isOwn(index));
    const { loss, squaredNorm, zLoss } = await readSums(gatherSums(squared, losses, zLosses), lossScale);
    const names = [...parameters.keys()];
    const flags = names.map((name) => Number(found.has(name)));
    // All ranks have the same kind of loss.
    const more = zLoss === undefined ? [] : [zLoss];
    const numbers = Float64Array.of(loss, squaredNorm, own.count, own.tokens, ...flags, ...more);
    await ranks.collectives.allReduce(numbers);
    const reached = names.filter((_, i) => numbers[4 + i] > 0);
    const [allLoss, allSquares, count, tokens] = numbers;
    const totals = {
      loss: allLoss,
      squaredNorm: allSquares,
      zLoss: more.length > 0 ? numbers.at(-1) : undefined,
    };
    return { ...totals, count, tokens, found: new Set(reached) };
  }
}
