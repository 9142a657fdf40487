/** One fine-tuning run from its configuration: model, data, training loop, export, report. */
import { join } from 'node:path';
import { type OpenedProbes, openProbes } from '@meap/eval-recipes';
import {
  beginRun,
  finishedCheckpoint,
  packageVersion,
  type RunEnd,
  type RunOptions,
  requireMemory,
  runTraining,
  stoppedEarly,
  unlessAborted,
  warnOfData,
} from '@meap/recipe-cli';
import { type BackendDescription, setBackend, setPrecision } from '@meap/tensor-kernels';
import { describeFiles } from '@meap/token-dataset';
import { type RankGroup, type TrainEvent, validate } from '@meap/trainer';
import { type Baseline, readBaseline, writeBaseline } from './baseline.ts';
import { exportModel, loadModelParts, loadTrainableModel } from './model.ts';
import { prepareData } from './prepare-data.ts';
import { writeReport } from './report.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import { describeRun, type RunFacts } from './run-facts.ts';
import { shownRows } from './shown-rows.ts';
import { trainingParts } from './training-parts.ts';

/** Events of {@link finetune}. */
export type FinetuneEvent =
  | TrainEvent
  | ({ type: 'backend' } & BackendDescription)
  | { type: 'data'; conversations: number }
  | ({ type: 'ready' } & RunFacts);

/**
 * Fine-tunes a model with MEAP and writes a run directory; resumes to the same bytes. All ranks call it; rank 0 writes.
 *
 * Checkpoints contain the model, or its adapter in PEFT's format, in float32. `OUT/model` gets the finished model in the
 * format of the published one, `OUT/adapter` the adapter, if any.
 *
 * @throws typed errors with one-line messages, for which `isUserError` returns true
 */
export async function finetune(config: FinetuneConfig, options: RunOptions<FinetuneEvent>): Promise<RunEnd> {
  const run = await beginRun(options);
  const { out, resume, signal, ranks, emit } = run;
  const parts = loadModelParts(config);
  const backend = await setBackend(config.backend, config.distributed);
  setPrecision(config.precision);
  emit({ type: 'backend', ...backend });
  const onProgress = ({ conversations }: { conversations: number }) => emit({ type: 'data', conversations });
  const prepared = await unlessAborted(signal, async () => {
    const data = await prepareData(config, parts, { onProgress, signal });
    return { data, facts: await describeRun(config, parts, data, { ranks, signal }) };
  });
  if ((await ranks.any(!prepared)) || !prepared) return stoppedEarly(out);
  const { data, facts } = prepared;
  const exported = join(out, 'model');
  const finished = await ranks.onFirst(async () =>
    resume === 'auto' ? finishedCheckpoint(out, facts.steps, config.stop_when.length > 0) : undefined,
  );
  if (finished)
    return { status: 'complete', step: finished.step, checkpoint: finished.path, model: exported };
  const files = await describeFiles([...config.data.files, ...(config.data.validation_files ?? [])]);
  warnOfData(run, { ...data, files });
  requireMemory(facts.memory);
  const model = await loadTrainableModel(config, parts);
  let measured: OpenedProbes | undefined;
  try {
    emit({ type: 'ready', ...facts });
    const { tokenizer } = parts;
    measured = await openProbes(config.probes, { model, tokenizer });
    const trained = {
      ...(await trainingParts(config, model, parts, data, ranks.size)),
      probes: measured.probes,
    };
    // Measured before the first step, but written once the folder is locked.
    const known = await ranks.onFirst(() => readBaseline(out));
    const baseline = known ?? (await measureBaseline(trained, ranks, signal));
    // Nothing was trained yet, so there is no checkpoint to save.
    if (await ranks.any(signal?.aborted === true)) return stoppedEarly(out);
    const { steps, parameters, memory } = facts;
    const { status, step, checkpoint } = await runTraining(run, trained, {
      config,
      files,
      environment: {
        meap: packageVersion(import.meta.url),
        backend: { ...backend },
        run: { steps, parameters },
      },
      memory,
      rows: shownRows,
      decode: (ids) => parts.tokenizer.decode(ids),
      onStart: () => baseline && writeBaseline(out, baseline),
    });
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
    measured?.dispose();
    model.dispose();
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
