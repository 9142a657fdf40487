/** Plans a step for devices that need not be here: compiles it for them, and reads memory and traffic from the programs. */
import { countParameters, flopsPerToken, Llama, type LlamaConfig, parameterShapes } from '@meap/llama-model';
import { type CollectiveTraffic, collectiveTraffic, type DeviceTarget, deviceTarget } from '@meap/pjrt';
import {
  batchPlan,
  ConfigurationError,
  checkMesh,
  flop,
  NotReadyError,
  optimizerFloats,
  Problems,
  Refusals,
  recipeOptions,
  runSeeds,
  short,
} from '@meap/recipe-cli';
import { describeMesh, type Mesh, planOnTarget, setPrecision } from '@meap/tensor-kernels';
import { runStep } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import { unknownTokenizer } from './dry-run.ts';
import { isUserError } from './errors.ts';
import { checkMeshShape, type PretrainConfig } from './resolve-config.ts';
import { modelConfig, withOrigin } from './training/model.ts';
import { prepareTokenizer } from './training/prepare-data.ts';

/** Result of {@link planOn}; all but the model is of one device. */
export interface TargetPlan {
  target: string;
  mesh: Mesh;
  model: LlamaConfig;
  parameters: number;
  /** Bytes at the peak of a step: weights, moments and what the programs need beside them. */
  memory_bytes: { peak: number; weights_and_moments: number; usable: number };
  fits: boolean;
  /** FLOP of a step, those of recomputation included. */
  flop: number;
  /** What a step sends, by the kind of collective. */
  collectives: Record<string, CollectiveTraffic>;
  /** The least time of each resource, and of a step if all of them overlap or none does. */
  seconds: { products: number; memory: number; links: number; least: number; most: number };
  tokens_per_step: number;
}

/**
 * Compiles a recipe's step for a target.
 *
 * @param target a name of `deviceTarget`, such as `h200x8`
 * @throws ConfigurationError for a backend or a mesh that does not fit; BackendError without the target's plugin
 */
export async function planOn(given: PretrainConfig, target: string): Promise<TargetPlan> {
  const devices = targetOf(target);
  const { backend, precision, train, distributed } = given;
  if (backend !== 'xla') {
    throw new ConfigurationError([`backend: got ${backend}, expected xla with --target`]);
  }
  const mesh = distributed.mesh ?? { fsdp: devices.numDevices };
  const config = await withOrigin({ ...given, distributed: { ...distributed, mesh: withDefaults(mesh) } });
  const refusals = new Refusals();
  checkMesh(config, refusals, 1);
  const model = await shapeOf(config);
  checkMeshShape(config, model, refusals);
  refusals.throwIfAny();

  const programs = await planOnTarget(target, mesh);
  setPrecision(precision);
  const { microBatchSize, microBatches } = batchPlan(train, 1);
  const llama = new Llama(model, zeroParameters(model));
  const ids = tf.zeros([microBatchSize, train.sequence_length], 'int32');
  const { dropout: rate, recompute, z_loss: zLoss } = train;
  await runStep({
    ...recipeOptions(config, train.max_steps, 1),
    // The first, the others, the last.
    microBatches: Math.min(microBatches, 3),
    parameters: llama.parameters,
    batches: async () => undefined,
    loss: (_, { step, microBatch }) => {
      const dropout = { rate, seed: runSeeds(config).mask, step, firstRow: microBatch * microBatchSize };
      return llama.loss(ids, ids, undefined, { recompute, zLoss, dropout: rate > 0 && dropout });
    },
  });
  const executed = await programs();
  ids.dispose();
  llama.dispose();

  const last = executed[executed.length - 1].memoryStats();
  // The optimizer's state is not among the arguments of the micro-batches before the last.
  const { state } = optimizerFloats(train.optim, parameterShapes(model));
  const moments = (state / (state + countParameters(model))) * last.aliased;
  const collectives: Record<string, CollectiveTraffic> = {};
  let [peak, moved] = [0, 0];
  for (const [i, program] of executed.entries()) {
    const { arguments: inputs, outputs, aliased, temporary, peak: reported } = program.memoryStats();
    const own = reported || inputs + outputs - aliased + temporary;
    peak = Math.max(peak, own + (i < executed.length - 1 ? moments : 0));
    const times = microBatches > 3 && i === 1 ? microBatches - 2 : 1;
    moved += times * (inputs + outputs + 2 * temporary);
    const traffic = collectiveTraffic(await program.optimizedProgram(), devices.numDevices);
    for (const [kind, { count, bytes }] of Object.entries(traffic)) {
      collectives[kind] ??= { count: 0, bytes: 0 };
      collectives[kind].count += times * count;
      collectives[kind].bytes += times * bytes;
    }
  }
  const tokens = train.global_batch_size * train.sequence_length;
  const flops =
    ((flopsPerToken(model, train.sequence_length) * tokens) / devices.numDevices) * (recompute ? 4 / 3 : 1);
  const rates = precision === 'bfloat16' ? devices.flopsPerSecond : devices.float32FlopsPerSecond;
  const sent = Object.values(collectives).reduce((sum, { bytes }) => sum + bytes, 0);
  const [products, memory, links] = [
    flops / rates,
    moved / devices.memoryBytesPerSecond,
    sent / devices.linkBytesPerSecond,
  ];
  return {
    target: devices.description,
    mesh,
    model,
    parameters: countParameters(model),
    memory_bytes: { peak, weights_and_moments: last.aliased, usable: devices.usableBytes },
    fits: peak <= devices.usableBytes,
    flop: flops,
    collectives,
    seconds: {
      products,
      memory,
      links,
      least: Math.max(products, memory, links),
      most: products + memory + links,
    },
    tokens_per_step: tokens,
  };
}

/** Formats the plan for the terminal. */
export function renderTargetPlan(plan: TargetPlan): string {
  const { model, memory_bytes: memory, seconds, tokens_per_step: tokens } = plan;
  const gigabytes = (bytes: number) =>
    bytes < 1e9 ? `${(bytes / 1e6).toPrecision(3)} MB` : `${(bytes / 1e9).toPrecision(3)} GB`;
  const milliseconds = (time: number) => `${(1000 * time).toPrecision(3)} ms`;
  const traffic = Object.entries(plan.collectives).map(
    ([kind, { count, bytes }]) => `${kind} ${gigabytes(bytes)} (${count})`,
  );
  return [
    `target       ${plan.target}${describeMesh(plan.mesh) && `, mesh ${describeMesh(plan.mesh)}`}; numbers of one device`,
    `model        ${plan.parameters.toLocaleString('en')} parameters: ${model.num_hidden_layers} layers × ${model.hidden_size}, vocabulary ${model.vocab_size}`,
    `step         ${short(tokens)} tokens, ${flop(plan.flop)}`,
    `memory       ${gigabytes(memory.peak)} at the peak, ${gigabytes(memory.weights_and_moments)} of it weights and moments: ` +
      `${plan.fits ? 'fits' : 'does not fit'} in ${gigabytes(memory.usable)}`,
    `sends        ${traffic.length > 0 ? traffic.join(', ') : 'nothing'}`,
    `time         at least ${milliseconds(seconds.least)} a step, ${milliseconds(seconds.most)} if nothing overlaps: products ` +
      `${milliseconds(seconds.products)}, memory ${milliseconds(seconds.memory)}, links ${milliseconds(seconds.links)}`,
    `rate         at most ${short(tokens / seconds.least)} tokens/s on all devices`,
  ].join('\n');
}

function targetOf(target: string): DeviceTarget {
  try {
    return deviceTarget(target);
  } catch (error) {
    throw new ConfigurationError([(error as Error).message.replace(/^deviceTarget:/, '--target:')]);
  }
}

const withDefaults = ({ data = 1, fsdp = 1, tensor = 1 }: Mesh) => ({ data, fsdp, tensor });

/** The model's shape; without a tokenizer, that of the recipe's vocabulary. */
async function shapeOf(config: PretrainConfig): Promise<LlamaConfig> {
  const problems = new Problems(isUserError);
  const tokenizers = await problems.attempt(() => prepareTokenizer(config));
  const model = await problems.attempt(() =>
    modelConfig(config, tokenizers?.masked ?? unknownTokenizer(config)),
  );
  if (!model) throw new NotReadyError(problems.list);
  return model;
}

/** Zeros take no memory of the host until they are touched. */
function zeroParameters(model: LlamaConfig): Map<string, tf.Variable> {
  const variables = Array.from(parameterShapes(model), ([name, shape]) => {
    return [name, tf.tidy(() => tf.variable(tf.zeros(shape)))] as const;
  });
  return new Map(variables);
}
