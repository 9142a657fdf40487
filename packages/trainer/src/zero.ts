/**
 * ZeRO's sharing of the optimizer's work (Rajbhandari et al. 2020, arXiv 1910.02054, §5): a rank holds the moments of
 * its part of every bucket, updates these weights, and gets the others' from the other ranks.
 *
 * Weights are float32 on every rank, also where `precision` is bfloat16, so there are no master copies to share out.
 */
import { copyInto } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { loadOptimizerTensors } from './checkpoint.ts';
import { type Bucket, type Part, partsOf } from './gradient-buckets.ts';
import type { Optimizer } from './optimizer.ts';
import type { RankGroup } from './rank-group.ts';
import { assign } from './rank-tensors.ts';
import type { TrainingStep } from './training-step.ts';
import type { Parameters } from './types.ts';

/**
 * An optimizer over this rank's parts, which it sees as flat parameters under their names; so it must work element by
 * element, as AdamW does.
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
  // A bucket's weights in one array, which its variables have as their memory where the backend lets them.
  const weights = buckets.map((bucket) => new Float32Array(bucket.size));

  /** Puts the parts of all ranks together and hands out the values of each parameter. */
  async function gather(
    partOf: (name: string) => tf.Tensor,
    arrays: readonly Float32Array[],
    onValues: (name: string, values: Float32Array) => void,
  ): Promise<void> {
    const gathered: Promise<void>[] = [];
    for (const [i, bucket] of buckets.entries()) {
      const values = new Float32Array(bucket.size / size);
      for (const { name, at } of partsOf(bucket, rank, size)) {
        const part = partOf(name);
        await copyInto(part, values.subarray(at, at + part.size));
      }
      gathered.push(ranks.collectives.allGather(values, arrays[i]));
    }
    await Promise.all(gathered);
    for (const [i, { slots }] of buckets.entries()) {
      for (const { name, offset, size } of slots) onValues(name, arrays[i].subarray(offset, offset + size));
    }
  }

  return {
    state,

    async update({ gradients }, learningRate, gradientScale) {
      const parts = takeParts(parameters, own);
      optimizer.update(state, { parameters: parts, gradients, learningRate, gradientScale });
      await gather(
        (name) => parts.get(name)!,
        weights,
        (name, values) => assign(parameters.get(name)!, values),
      );
      tf.dispose([...parts.values()]);
    },

    async wholeTensors() {
      const whole = new Map<string, tf.Variable>();
      for (const prefix of new Set(
        [...state.tensors.keys()].map((key) => splitKey(key, parameters).prefix),
      )) {
        const arrays = buckets.map((bucket) => new Float32Array(bucket.size));
        const values = new Map<string, Float32Array>();
        await gather(
          (name) => state.tensors.get(prefix + name)!,
          arrays,
          (name, array) => values.set(name, array),
        );
        if (!ranks.isFirst) continue;
        // In the order in which one process writes them.
        for (const [name, { shape }] of parameters) {
          whole.set(prefix + name, variableOf(tf.tensor(values.get(name)!, shape)));
        }
      }
      return { tensors: whole, dispose: () => tf.dispose([...whole.values()]) };
    },

    async load(path) {
      const shapeOf = (key: string) => parameters.get(splitKey(key, parameters).name)!.shape;
      const whole = new Map<string, tf.Variable>();
      if (ranks.isFirst) {
        for (const key of state.tensors.keys()) whole.set(key, variableOf(tf.zeros(shapeOf(key))));
        await loadOptimizerTensors(path, whole);
      }
      for (const [key, variable] of state.tensors) {
        const values = new Float32Array(tf.util.sizeFromShape(shapeOf(key)));
        if (ranks.isFirst) values.set(await whole.get(key)!.data<'float32'>());
        await ranks.collectives.broadcast(values);
        const part = own.get(splitKey(key, parameters).name);
        if (part) assign(variable, values.slice(part.start, part.start + part.length));
      }
      tf.dispose([...whole.values()]);
    },
  };
}

/** The owned parts of all parameters, flat, empty where nothing is owned; over the parameters' memory on a CPU. */
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

/** The parameter that an optimizer's tensor belongs to, and what stands before its name, such as `exp_avg.`. */
function splitKey(key: string, parameters: Parameters): { prefix: string; name: string } {
  // From the left: of `b.weight` and `a.b.weight` the longer name is found first.
  for (let dot = key.indexOf('.'); dot >= 0; dot = key.indexOf('.', dot + 1)) {
    const name = key.slice(dot + 1);
    if (parameters.has(name)) return { prefix: key.slice(0, dot + 1), name };
  }
  throw new Error(`zero: optimizer tensor ${key} is of none of the parameters`);
}

function variableOf(value: tf.Tensor): tf.Variable {
  const variable = tf.variable(value, false);
  value.dispose();
  return variable;
}
