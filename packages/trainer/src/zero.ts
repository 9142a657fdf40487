/**
 * ZeRO's sharded optimizer (Rajbhandari et al. 2020, arXiv 1910.02054, §5): a rank holds the moments of its part of every
 * bucket, updates these weights, and gathers the others.
 *
 * Weights are float32 on every rank, also with `precision` bfloat16, so that there are no master copies to shard.
 */
import { copyInto, memoryOf, overwrite, stageVector } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { readOptimizerTensors } from './checkpoint.ts';
import { type Bucket, MAX_IN_TRANSIT, onlySlot, type Part, partsOf } from './gradient-buckets.ts';
import type { Optimizer } from './optimizer.ts';
import type { RankGroup } from './rank-group.ts';
import { assign } from './tensor-bytes.ts';
import type { TrainingStep } from './training-step.ts';
import type { Parameters } from './types.ts';

/**
 * Wraps an optimizer so that it updates this rank's parts, passed to it as flat parameters. It must work element by element,
 * as AdamW does.
 */
export function zeroOptimizer(
  optimizer: Optimizer,
  parameters: Parameters,
  buckets: readonly Bucket[],
  ranks: RankGroup,
): Omit<TrainingStep, 'accumulate'> {
  const { rank, size } = ranks;
  const own = new Map<string, Part>();
  for (const bucket of buckets) for (const part of partsOf(bucket, rank, size)) own.set(part.name, part);
  const initial = takeParts(parameters, own);
  const state = optimizer.init(initial);
  tf.dispose([...initial.values()]);
  const tensors = [...state.tensors.keys()].map((name) => {
    const parameter = parameterOf(name, parameters);
    return { name, parameter, shape: parameters.get(parameter)!.shape };
  });

  /** Returns memory for a bucket's weights with this rank's part in it, and a function to call after the gather. */
  async function takeWeights(bucket: Bucket, parts: Parameters) {
    const only = onlySlot(bucket);
    const memory = only && memoryOf(parameters.get(only.name)!);
    // The optimizer has updated this rank's part in place.
    if (memory) return { values: memory, store: () => {} };
    const staged = stageVector(bucket.size);
    const { values } = staged;
    const first = (rank * bucket.size) / size;
    for (const { name, at, length } of partsOf(bucket, rank, size)) {
      await copyInto(parts.get(name)!, values.subarray(first + at, first + at + length));
    }
    const store = () => {
      for (const { name, offset, size } of bucket.slots) {
        overwrite(parameters.get(name)!, values.subarray(offset, offset + size));
      }
      staged.dispose();
    };
    return { values, store };
  }

  return {
    state,
    tensors,

    async update({ gradients }, learningRate, gradientScale) {
      const parts = takeParts(parameters, own);
      optimizer.update(state, { parameters: parts, gradients, learningRate, gradientScale });
      // In the same order on all ranks, with few buckets in transit.
      const gathered: Promise<void>[] = [];
      for (const bucket of buckets) {
        await gathered.at(-MAX_IN_TRANSIT);
        const { values, store } = await takeWeights(bucket, parts);
        const width = bucket.size / size;
        const part = values.subarray(rank * width, (rank + 1) * width);
        const done = ranks.collectives.allGather(part, values).then(store);
        done.catch(() => {});
        gathered.push(done);
      }
      await Promise.all(gathered);
      tf.dispose([...parts.values()]);
    },

    async readTensor(index) {
      const { name, parameter, shape } = tensors[index];
      const whole = new Float32Array(ranks.isFirst ? tf.util.sizeFromShape(shape) : 0);
      // Each owner broadcasts its part: there is no send to one rank, and checkpoints are rare.
      for (const { owner, start, length } of ownersOf(parameter)) {
        const values = ranks.isFirst ? whole.subarray(start, start + length) : new Float32Array(length);
        if (owner === rank) await copyInto(state.tensors.get(name)!, values);
        await ranks.collectives.broadcast(values, owner);
      }
      return new Uint8Array(whole.buffer);
    },

    async load(path) {
      const take = async (index: number, values: Float32Array) => {
        await ranks.collectives.broadcast(values);
        const { name, parameter } = tensors[index];
        const part = own.get(parameter);
        if (part) assign(state.tensors.get(name)!, values.slice(part.start, part.start + part.length));
      };
      if (ranks.isFirst) await readOptimizerTensors(path, tensors, take);
      else {
        for (const [i, { shape }] of tensors.entries()) {
          await take(i, new Float32Array(tf.util.sizeFromShape(shape)));
        }
      }
    },
  };

  function ownersOf(parameter: string): (Part & { owner: number })[] {
    const bucket = buckets.find(({ slots }) => slots.some(({ name }) => name === parameter))!;
    return Array.from({ length: size }, (_, owner) =>
      partsOf(bucket, owner, size)
        .filter(({ name }) => name === parameter)
        .map((part) => ({ ...part, owner })),
    ).flat();
  }
}

/** Returns the owned parts of all parameters, flat, possibly empty; on a CPU they share the parameters' memory. */
function takeParts(parameters: Parameters, own: ReadonlyMap<string, Part>): Map<string, tf.Variable> {
  const parts = new Map<string, tf.Variable>();
  for (const [name, parameter] of parameters) {
    const part = own.get(name);
    parts.set(
      name,
      tf.tidy(() => {
        const flat = part ? tf.slice(parameter.flatten(), part.start, part.length) : tf.zeros([0]);
        return tf.variable(flat, false);
      }),
    );
  }
  return parts;
}

/** Returns the parameter of an optimizer tensor, such as `exp_avg.embed.weight`. */
function parameterOf(tensor: string, parameters: Parameters): string {
  // From the left, to find `a.b.weight` before `b.weight`.
  for (let dot = tensor.indexOf('.'); dot >= 0; dot = tensor.indexOf('.', dot + 1)) {
    const name = tensor.slice(dot + 1);
    if (parameters.has(name)) return name;
  }
  throw new Error(`zero: optimizer tensor ${tensor} belongs to no parameter`);
}
