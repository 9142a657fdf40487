/**
 * ZeRO's sharing of the optimizer's work (Rajbhandari et al. 2020, arXiv 1910.02054, §5): a rank holds the moments of
 * its part of every bucket, updates these weights, and gets the others' from the other ranks.
 *
 * Weights are float32 on every rank, also where `precision` is bfloat16, so there are no master copies to share out.
 */
import { copyInto, overwrite } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { loadOptimizerTensors } from './checkpoint.ts';
import { type Bucket, BucketMemory, MOST_ON_THEIR_WAY, type Part, partsOf } from './gradient-buckets.ts';
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
  const memory = new BucketMemory();

  /** What this rank has of a bucket, in one array. */
  async function ownOf(bucket: Bucket, partOf: (name: string) => tf.Tensor): Promise<Float32Array> {
    const values = new Float32Array(bucket.size / size);
    for (const { name, at } of partsOf(bucket, rank, size)) {
      const part = partOf(name);
      await copyInto(part, values.subarray(at, at + part.size));
    }
    return values;
  }

  return {
    state,

    async update({ gradients }, learningRate, gradientScale) {
      const parts = takeParts(parameters, own);
      optimizer.update(state, { parameters: parts, gradients, learningRate, gradientScale });
      const sent: { bucket: Bucket; values: Float32Array; done: Promise<void> }[] = [];
      const receive = async ({ bucket, values, done }: (typeof sent)[number]) => {
        await done;
        for (const { name, offset, size } of bucket.slots) {
          overwrite(parameters.get(name)!, values.subarray(offset, offset + size));
        }
      };
      // Asked for one after another, in the same order on all ranks, and a few on their way at a time.
      for (const [i, bucket] of buckets.entries()) {
        const own = await ownOf(bucket, (name) => parts.get(name)!);
        if (i >= MOST_ON_THEIR_WAY) await receive(sent[i - MOST_ON_THEIR_WAY]);
        const values = memory.take(i % MOST_ON_THEIR_WAY, bucket.size);
        const done = ranks.collectives.allGather(own, values);
        done.catch(() => {});
        sent.push({ bucket, values, done });
      }
      for (const last of sent.slice(-MOST_ON_THEIR_WAY)) await receive(last);
      tf.dispose([...parts.values()]);
    },

    async wholeTensors() {
      // In the order in which one process writes them; on other ranks a bucket at a time comes and goes.
      const whole = new Map(
        [...state.tensors.keys()].map((key) => [key, undefined as tf.Variable | undefined]),
      );
      for (const prefix of new Set([...whole.keys()].map((key) => splitKey(key, parameters).prefix))) {
        for (const bucket of buckets) {
          const values = memory.take(0, bucket.size);
          const own = await ownOf(bucket, (name) => state.tensors.get(prefix + name)!);
          await ranks.collectives.allGather(own, values);
          if (!ranks.isFirst) continue;
          for (const { name, offset, size, shape } of bucket.slots) {
            whole.set(prefix + name, variableOf(tf.tensor(values.slice(offset, offset + size), shape)));
          }
        }
      }
      const tensors = ranks.isFirst ? (whole as Map<string, tf.Variable>) : new Map<string, tf.Variable>();
      return { tensors, dispose: () => tf.dispose([...tensors.values()]) };
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
