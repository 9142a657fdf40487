/** One pre-training run from its configuration: data, model, training loop, report. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { countParameters, flopsPerToken, type LlamaConfig } from '@meap/llama-model';
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
import { type DocumentCounts, type SourceStatistics, unigramBitsPerByte } from '@meap/token-dataset';
import { RankGroup, type TrainEvent, train, writeEnvironment } from '@meap/trainer';
import { machinePeak } from '../estimate.ts';
import { planPretraining } from '../memory-plan.ts';
import type { PretrainConfig } from '../resolve-config.ts';
import { createModel, modelConfig, withOrigin } from './model.ts';
import { configuredMasker } from './objective.ts';
import { type DataProgress, type OnFound, type PreparedData, prepareData, spread } from './prepare-data.ts';
import { sameDataTest } from './refuse-other-data.ts';
import { writeReport } from './report.ts';
import { shownRows } from './shown-rows.ts';
import { trainingParts } from './training-parts.ts';

/** What {@link pretrain} tells its caller while it runs. */
export type PretrainEvent =
  | TrainEvent
  | ({ type: 'backend'; peakGflops: number | null } & BackendDescription)
  | ({ type: 'data' } & DataProgress)
  | ({ type: 'ready' } & RunFacts);

/** What is known of a run once its data are prepared. */
export interface RunFacts {
  model: LlamaConfig;
  parameters: number;
  flopPerToken: number;
  trainTokens: number;
  validationTokens: number;
  /** Of a unigram model of the training tokens on the validation rows: what a model without context reaches. */
  unigramBitsPerByte: number;
  steps: number;
  tokensPerStep: number;
  /** What was noticed of the documents. */
  documents: DocumentCounts;
  /** Whether text that spells special tokens has become them. */
  parsesSpecialTokens: boolean;
  /** Of a mix of sources, or where only some documents were kept. */
  mix?: readonly SourceStatistics[];
}

/** Tokens that the unigram model is counted on, at most: enough for one number per id of the vocabulary. */
const UNIGRAM_TOKENS = 16 * 1024 * 1024;

/**
 * Pre-trains a LLaMA with MEAP and writes a run directory; resumable to the byte. Ranks call it together; rank 0 writes.
 *
 * @throws typed errors with one-line messages, of this package and of those it composes; `isUserError` tells them
 */
export async function pretrain(given: PretrainConfig, options: RunOptions<PretrainEvent>): Promise<RunEnd> {
  const { out, resume = 'auto', signal, ranks = new RankGroup() } = options;
  const emit = options.onEvent ?? (() => {});
  const warn = (message: string) => emit({ type: 'warning', message });
  const finished = await ranks.onFirst(async () => {
    openRunDirectory(out, resume);
    return resume === 'auto' ? finishedCheckpoint(out, given.train.max_steps) : undefined;
  });
  if (finished) return { status: 'complete', step: finished.step, checkpoint: finished.path };
  const config = await withOrigin(given);
  const backend = await setBackend(config.backend);
  setPrecision(config.precision);
  const peakGflops = await machinePeak(config.precision);
  emit({ type: 'backend', ...backend, peakGflops });

  const requireSameData = await sameDataTest(out, resume);
  const onFound: OnFound = ({ fingerprint, sources }) =>
    requireSameData(fingerprint, () => {
      const isOfText = (line: string) => sources.some(({ path }) => line.startsWith(`${path}:`));
      for (const change of changedFiles(out, sources).filter(isOfText))
        warn(`data changed since this run began: ${change}`);
    });
  // The others find in the cache what rank 0 has prepared.
  const data = await ranks.firstThenOthers(async () => {
    try {
      const onProgress = (progress: DataProgress) => emit({ type: 'data', ...progress });
      return await prepareData(config, onProgress, signal, onFound);
    } catch (error) {
      if (signal?.aborted) return undefined;
      throw error;
    }
  });
  if ((await ranks.any(!data)) || !data) {
    data?.close();
    return stoppedEarly(out);
  }
  const { count, first } = data.skipped;
  if (count > 0) warn(`data: ${counted(count, 'bad record')} skipped, the first: ${first[0]}`);
  if (data.repeatedFiles.length > 0) warn(describeRepeated(data.repeatedFiles));
  for (const damage of data.replaced) warn(`data: ${damage}; made again`);
  for (const change of changedFiles(out, data.files)) warn(`data changed since this run began: ${change}`);
  const shape = modelConfig(config, data.tokenizer);
  const memory = planPretraining(config, shape, ranks.size);
  if (!memory.fits) {
    data.close();
    throw new RunError(`memory: ${describeMisfit(memory)}`);
  }
  const model = await createModel(config, shape);
  try {
    const parts = await trainingParts(config, model, data);
    const facts = describeRun(config, shape, data);
    emit({ type: 'ready', ...facts });
    const onStart = (step: number) => {
      const changes = writeConfig(out, config);
      writeFileList(out, data.files);
      if (step > 0)
        for (const change of changes) warn(`configuration changed since this run began: ${change}`);
      if (facts.mix) writeFileSync(join(out, 'data-mix.json'), `${JSON.stringify(facts.mix, null, 1)}\n`);
      const { steps, parameters, documents } = facts;
      const meap = packageVersion(import.meta.url);
      const { empty, duplicates, spellings } = documents;
      const noticed = { empty, duplicates: { ...duplicates }, spellings: { ...spellings } };
      const run = { steps, parameters, documents: noticed };
      writeEnvironment(out, { meap, backend: { ...backend }, peakGflops, run });
    };
    const masker = configuredMasker(config, data.tokenizer);
    const log = logBatches(parts.batches, {
      directory: out,
      rows: (batch, position) => shownRows(masker, batch, position),
      decode: (ids) => data.tokenizer.decode(ids),
    });
    const { status, step, checkpoint } = await train({
      ...parts,
      batches: ranks.isFirst ? log.batches : parts.batches,
      checkpoint: { ...parts.checkpoint, background: memory.checkpointCopy > 0 },
      directory: out,
      resume,
      utilisation: peakGflops ? { flopPerToken: facts.flopPerToken, peakFlops: peakGflops * 1e9 } : undefined,
      ranks,
      signal,
      onEvent: (event) => {
        // From here on the folder is locked: no other process's files are overwritten.
        if (event.type === 'start') onStart(event.step);
        emit(event);
      },
    });
    await log.settled();
    if (status === 'finished' && ranks.isFirst) writeReport(out, config, facts);
    return { status, step, checkpoint };
  } finally {
    model.dispose();
    data.close();
  }
}

function describeRun(config: PretrainConfig, model: LlamaConfig, data: PreparedData): RunFacts {
  const { train } = config;
  const sample = spread(data.train, Math.ceil(UNIGRAM_TOKENS / data.train.blockLength));
  return {
    model,
    parameters: countParameters(model),
    flopPerToken: flopsPerToken(model, train.sequence_length),
    trainTokens: data.train.numBlocks * data.train.blockLength,
    validationTokens: data.validation.numBlocks * train.sequence_length,
    unigramBitsPerByte: unigramBitsPerByte(sample, data.validation).bitsPerByte,
    steps: train.max_steps,
    tokensPerStep: train.global_batch_size * train.sequence_length,
    documents: data.documents,
    parsesSpecialTokens: config.data.parse_special_tokens,
    ...(data.mix && { mix: data.mix }),
  };
}
