/** One fine-tuning run from its configuration: model, data, training loop, export, report. */
import { join } from 'node:path';
import {
  changedFiles,
  counted,
  describeMisfit,
  describeRepeated,
  finishedCheckpoint,
  logBatches,
  openRunDirectory,
  packageVersion,
  type RunEnd,
  RunError,
  type RunOptions,
  stoppedEarly,
  writeConfig,
  writeFileList,
} from '@meap/recipe-cli';
import { type BackendDescription, setBackend, setPrecision } from '@meap/tensor-kernels';
import { describeFiles } from '@meap/token-dataset';
import { RankGroup, type TrainEvent, train, validate, writeEnvironment } from '@meap/trainer';
import { type Baseline, readBaseline, writeBaseline } from './baseline.ts';
import { exportModel, loadModelParts, loadTrainableModel, type ModelParts } from './model.ts';
import { type PreparedData, prepareData } from './prepare-data.ts';
import { writeReport } from './report.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import { describeRun, type RunFacts } from './run-facts.ts';
import { shownRows } from './shown-rows.ts';
import { trainingParts } from './training-parts.ts';

/** What {@link finetune} tells its caller while it runs. */
export type FinetuneEvent =
  | TrainEvent
  | ({ type: 'backend' } & BackendDescription)
  | { type: 'data'; conversations: number }
  | ({ type: 'ready' } & RunFacts);

/**
 * Fine-tunes a model with MEAP and writes a run directory; resumable to the byte. Ranks call it together; rank 0 writes.
 *
 * Checkpoints hold what is trained in float32: the model, or its adapter in the files of PEFT. `OUT/model` gets the
 * finished model in the format of the published one, and `OUT/adapter` the adapter, if there is one.
 *
 * @throws typed errors with one-line messages, of this package and of those it composes; `isUserError` tells them
 */
export async function finetune(config: FinetuneConfig, options: RunOptions<FinetuneEvent>): Promise<RunEnd> {
  const { out, resume = 'auto', signal, ranks = new RankGroup() } = options;
  const emit = options.onEvent ?? (() => {});
  const warn = (message: string) => emit({ type: 'warning', message });
  await ranks.onFirst(() => openRunDirectory(out, resume));
  const parts = loadModelParts(config);
  const backend = await setBackend(config.backend);
  setPrecision(config.precision);
  emit({ type: 'backend', ...backend });
  const prepared = await prepare(config, parts, ranks, options);
  if ((await ranks.any(!prepared)) || !prepared) return stoppedEarly(out);
  const { data, facts } = prepared;
  const exported = join(out, 'model');
  const finished = await ranks.onFirst(async () =>
    resume === 'auto' ? finishedCheckpoint(out, facts.steps) : undefined,
  );
  if (finished)
    return { status: 'complete', step: finished.step, checkpoint: finished.path, model: exported };
  const { count, first } = data.skipped;
  if (count > 0) warn(`data: ${counted(count, 'record')} skipped, the first: ${first}`);
  if (data.repeatedFiles.length > 0) warn(describeRepeated(data.repeatedFiles));
  const files = await describeFiles([...config.data.files, ...(config.data.validation_files ?? [])]);
  for (const change of changedFiles(out, files)) warn(`data changed since this run began: ${change}`);
  if (!facts.memory.fits) throw new RunError(`memory: ${describeMisfit(facts.memory)}`);
  const model = await loadTrainableModel(config, parts);
  try {
    emit({ type: 'ready', ...facts });
    const trained = await trainingParts(config, model, parts, data);
    // Made before the first step but written when the folder is locked.
    const known = await ranks.onFirst(() => readBaseline(out));
    const baseline = known ?? (await measureBaseline(trained, ranks, signal));
    // Nothing has been trained that a checkpoint could hold.
    if (await ranks.any(signal?.aborted === true)) return stoppedEarly(out);
    const log = logBatches(trained.batches, {
      directory: out,
      rows: shownRows,
      decode: (ids) => parts.tokenizer.decode(ids),
    });
    const result = await train({
      ...trained,
      batches: ranks.isFirst ? log.batches : trained.batches,
      checkpoint: { ...trained.checkpoint, background: facts.memory.checkpointCopy > 0 },
      directory: out,
      resume,
      ranks,
      signal,
      onEvent: (event) => {
        if (event.type === 'start') {
          const changes = writeConfig(out, config);
          writeFileList(out, files);
          if (event.step > 0) {
            for (const change of changes) warn(`configuration changed since this run began: ${change}`);
          }
          const { steps, parameters } = facts;
          const meap = packageVersion(import.meta.url);
          writeEnvironment(out, { meap, backend: { ...backend }, run: { steps, parameters } });
          if (baseline) writeBaseline(out, baseline);
        }
        emit(event);
      },
    });
    await log.settled();
    const { status, step, checkpoint } = result;
    if (status === 'stopped') return { status, step, checkpoint };
    if (ranks.isFirst) {
      await exportModel(
        exported,
        model,
        { ...parts, baseModel: config.model.path },
        { dtype: parts.config.torch_dtype, adapterDirectory: join(out, 'adapter') },
      );
      writeReport(out, config, facts);
    }
    return { status, step, checkpoint, model: exported };
  } finally {
    model.dispose();
  }
}

/** Reads and describes the data, each rank for itself; undefined when `signal` was aborted. */
async function prepare(
  config: FinetuneConfig,
  parts: ModelParts,
  ranks: RankGroup,
  { signal, onEvent }: RunOptions<FinetuneEvent>,
): Promise<{ data: PreparedData; facts: RunFacts } | undefined> {
  try {
    const onProgress = ({ conversations }: { conversations: number }) =>
      onEvent?.({ type: 'data', conversations });
    const data = await prepareData(config, parts, { onProgress, signal });
    return { data, facts: await describeRun(config, parts, data, { numRanks: ranks.size, signal }) };
  } catch (error) {
    if (signal?.aborted) return undefined;
    throw error;
  }
}

async function measureBaseline(
  { validation, samples }: Awaited<ReturnType<typeof trainingParts>>,
  ranks: RankGroup,
  signal?: AbortSignal,
): Promise<Baseline | undefined> {
  const losses = await validate(validation, signal, ranks);
  if (!losses) return undefined;
  const rows = (await ranks.onFirst(() => samples.generate(0))) as Baseline['samples'];
  return { valLoss: losses.valLoss, maskedLoss: losses.parts?.masked, samples: rows };
}
