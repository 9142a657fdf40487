/** One pre-training run from its configuration: data, model, training loop, report. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type OpenedProbes, openProbes } from '@meap/eval-recipes';
import type { Llama } from '@meap/llama-model';
import {
  beginRun,
  changedFiles,
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
import { type BackendDescription, measurePeak, setBackend, setPrecision } from '@meap/tensor-kernels';
import type { Json, TrainEvent } from '@meap/trainer';
import { planPretraining } from '../memory-plan.ts';
import type { PretrainConfig } from '../resolve-config.ts';
import { createModel, modelConfig, withOrigin } from './model.ts';
import { configuredMasker } from './objective.ts';
import { type DataProgress, type OnFound, type PreparedData, prepareData } from './prepare-data.ts';
import { sameDataTest } from './refuse-other-data.ts';
import { writeReport } from './report.ts';
import { describeRun, type RunFacts } from './run-facts.ts';
import { shownRows } from './shown-rows.ts';
import { trainingParts } from './training-parts.ts';

/** Events of {@link pretrain}. */
export type PretrainEvent =
  | TrainEvent
  | ({ type: 'backend'; peakGflops: number | null } & BackendDescription)
  | ({ type: 'data' } & DataProgress)
  | ({ type: 'ready' } & RunFacts);

/**
 * Pre-trains a LLaMA with MEAP and writes a run directory; resumes to the same bytes. All ranks call it; rank 0 writes.
 *
 * @throws typed errors with one-line messages, for which `isUserError` returns true
 */
export async function pretrain(given: PretrainConfig, options: RunOptions<PretrainEvent>): Promise<RunEnd> {
  const run = await beginRun(options);
  const { out, resume, signal, ranks, emit, warn } = run;
  const finished = await ranks.onFirst(() =>
    resume === 'auto'
      ? finishedCheckpoint(out, given.train.max_steps, given.stop_when.length > 0)
      : undefined,
  );
  if (finished) return { status: 'complete', step: finished.step, checkpoint: finished.path };
  const config = await withOrigin(given);
  const backend = await setBackend(config.backend, config.distributed);
  setPrecision(config.precision);
  const peakGflops = (await measurePeak(config.precision)) ?? null;
  emit({ type: 'backend', ...backend, peakGflops });

  const requireSameData = await sameDataTest(out, resume);
  const onFound: OnFound = ({ fingerprint, sources }) =>
    requireSameData(fingerprint, () => {
      const isOfText = (line: string) => sources.some(({ path }) => line.startsWith(`${path}:`));
      for (const change of changedFiles(out, sources).filter(isOfText))
        warn(`data changed since this run began: ${change}`);
    });
  // The other ranks read the data that rank 0 prepared.
  const onProgress = (progress: DataProgress) => emit({ type: 'data', ...progress });
  const data = await ranks.firstThenOthers(() =>
    unlessAborted(signal, () => prepareData(config, onProgress, signal, onFound)),
  );
  if ((await ranks.any(!data)) || !data) {
    data?.close();
    return stoppedEarly(out);
  }
  let model: Llama | undefined;
  let measured: OpenedProbes | undefined;
  try {
    const { count, first } = data.skipped;
    warnOfData(run, { ...data, skipped: { count, first: first[0] } });
    for (const damage of data.replaced) warn(`data: ${damage}; rebuilt`);
    const shape = modelConfig(config, data.tokenizer);
    const memory = planPretraining(config, shape, ranks);
    requireMemory(memory);
    model = await createModel(config, shape);
    const parts = await trainingParts(config, model, data, ranks.size);
    measured = await openProbes(config.probes, {
      model,
      tokenizer: data.tokenizer,
      heldOut: () => heldOutRows(data),
    });
    const facts = describeRun(config, shape, data);
    emit({ type: 'ready', ...facts });
    const masker = configuredMasker(config, data.tokenizer);
    const { steps, parameters, documents, mix, flopPerToken } = facts;
    const { status, step, checkpoint } = await runTraining(
      run,
      {
        ...parts,
        probes: measured.probes,
        utilisation: peakGflops ? { flopPerToken, peakFlops: peakGflops * 1e9 } : undefined,
      },
      {
        config,
        files: data.files,
        environment: {
          meap: packageVersion(import.meta.url),
          backend: { ...backend },
          peakGflops,
          run: { steps, parameters, documents: structuredClone(documents) as unknown as Json },
        },
        memory,
        rows: (batch, position) => shownRows(masker, batch, position),
        decode: (ids) => data.tokenizer.decode(ids),
        onStart: () => {
          if (mix) writeFileSync(join(out, 'data-mix.json'), `${JSON.stringify(mix, null, 1)}\n`);
        },
      },
    );
    if (status === 'finished' && ranks.isFirst) writeReport(out, config, facts);
    return { status, step, checkpoint };
  } finally {
    measured?.dispose();
    model?.dispose();
    data.close();
  }
}

/** The ids of all validation rows. */
function heldOutRows({ validation }: PreparedData): number[][] {
  return Array.from({ length: validation.numBlocks }, (_, row) => Array.from(validation.read(row)));
}
