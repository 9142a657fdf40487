/** Plans a run without training: sizes, memory, time from a short measurement, one masked row. */
import { loadProbeTasks } from '@meap/eval-recipes';
import { tokenText } from '@meap/inference';
import { countParameters, flopsPerToken, type LlamaConfig } from '@meap/llama-model';
import { createMasker, describeMask, renderMaskedRow } from '@meap/meap-masking';
import {
  counted,
  describeMemory,
  duration,
  flop,
  type MemoryPlan,
  NotReadyError,
  Problems,
  percent,
  plainText,
  runSeeds,
  short,
} from '@meap/recipe-cli';
import { type BackendDescription, measurePeak, setBackend, setPrecision } from '@meap/tensor-kernels';
import {
  DatasetError,
  type DocumentSurvey,
  findFileProblems,
  surveyDocuments,
  type Tokenizer,
} from '@meap/token-dataset';
import { isUserError } from './errors.ts';
import { measureRate } from './estimate.ts';
import { planPretraining } from './memory-plan.ts';
import type { PretrainConfig } from './resolve-config.ts';
import { remoteFiles } from './training/hub-files.ts';
import { modelConfig, withOrigin } from './training/model.ts';
import { configuredMasker, lastMaskedStep } from './training/objective.ts';
import { EMPTY_CORPUS, prepareTokenizer, readText, sourcesOf } from './training/prepare-data.ts';

/** Result of {@link dryRun}. */
export interface DryRunPlan {
  backend: BackendDescription;
  /** Measured multiply-add peak in GFLOP/s; null where it cannot be measured. */
  peak_gflops: number | null;
  model: LlamaConfig;
  parameters: number;
  flop_per_token: number;
  steps: number;
  tokens_per_step: number;
  tokens: number;
  memory_bytes: MemoryPlan;
  /** Measured rate of a training step of this shape, in GFLOP/s. */
  measured_gflops: number;
  tokens_per_second: number;
  seconds: number;
  /** Problems that prevent the run from starting, one line each: missing files, bad first records. */
  problems: readonly string[];
  /** Survey of the first documents; null if there are none. */
  first_documents: DocumentSurvey | null;
  /** Number of masked tokens of the row, as text. */
  masked: string;
  /** The beginning of a row as text: inputs above targets. */
  row: string;
}

/**
 * Plans a run without training the model; trains the tokenizer if there is none yet.
 *
 * @throws NotReadyError with all problems if the size of the model is unknown
 */
export async function dryRun(given: PretrainConfig, width = 100): Promise<DryRunPlan> {
  const problems = new Problems(isUserError);
  const config = (await problems.attempt(() => withOrigin(given))) ?? given;
  // Files that are fetched while they are read are only listed.
  const findProblems = config.data.keep_downloads ? findTextProblems : listTexts;
  problems.add((await problems.attempt(() => findProblems(config))) ?? []);
  await problems.attempt(() => loadProbeTasks(config.probes, []));
  const backend = await setBackend(config.backend, config.distributed);
  setPrecision(config.precision);
  const { max_steps: steps, global_batch_size, sequence_length } = config.train;
  const text = await firstRow(config, problems);
  const model = await problems.attempt(() => modelConfig(config, text.tokenizer ?? unknownTokenizer(config)));
  if (!model) throw new NotReadyError(problems.list);
  const tokensPerStep = global_batch_size * sequence_length;
  const parameters = countParameters(model);
  const flop_per_token = flopsPerToken(model, sequence_length);
  const measured = await measureRate(model, sequence_length, config.train);
  const tokensPerSecond = measured / flop_per_token;
  const picture = await pictureOf(config, text, { maskId: model.vocab_size - 1, width });
  return {
    backend,
    peak_gflops: (await measurePeak(config.precision)) ?? null,
    model,
    parameters,
    flop_per_token,
    steps,
    tokens_per_step: tokensPerStep,
    tokens: steps * tokensPerStep,
    memory_bytes: planPretraining(config, model),
    measured_gflops: measured / 1e9,
    tokens_per_second: tokensPerSecond,
    seconds: (steps * tokensPerStep) / tokensPerSecond,
    problems: problems.list,
    first_documents: text.survey ?? null,
    ...picture,
  };
}

/** Draws the beginning of a row as in step 0; `maskId` stands in for the id of a missing tokenizer. */
async function pictureOf(
  config: PretrainConfig,
  { tokenizer, ids, pieces }: FirstRow,
  { maskId, width }: { maskId: number; width: number },
): Promise<Pick<DryRunPlan, 'masked' | 'row'>> {
  const { masking, tokenizer: names } = config;
  const { strategy, ratio, span_length: spanLength, replace_with } = masking;
  const replacementIds = replace_with === 'random' ? ids : undefined;
  const seed = runSeeds(config).mask;
  const masker = tokenizer
    ? configuredMasker(config, tokenizer)
    : createMasker({ strategy, ratio, spanLength, maskId, replacementIds, seed });
  const length = ids.length - 1;
  const { inputs, positions: rows } = masker.apply(ids.subarray(0, -1), { rows: 1, length, step: 0 });
  const shown = Math.min(pieces.length - 1, SHOWN_TOKENS);
  const texts = new Map<number, string>();
  for (const position of rows[0].filter((position) => position < shown)) {
    const id = inputs[position];
    const random = async () => (tokenizer ? tokenText(tokenizer, id) : pieces[id]);
    texts.set(position, replacementIds ? await random() : names.mask_token);
  }
  const last = lastMaskedStep(config);
  const notes = [
    describeMask({ length, positions: rows[0] }),
    ...(replacementIds ? ['replaced by random tokens'] : []),
    ...(last === undefined ? [] : [`masks until step ${last}`]),
  ];
  const maskToken = (position: number) => texts.get(position)!;
  const row = renderMaskedRow(pieces.slice(0, shown + 1), texts.keys(), { width, maskToken });
  return { masked: notes.join('; '), row };
}

/** Formats the plan for the terminal. */
export function renderDryRun(plan: DryRunPlan): string {
  const { model, memory_bytes: memory, peak_gflops: peak } = plan;
  const shape = `${model.num_hidden_layers} layers × ${model.hidden_size}, ${model.num_attention_heads} heads`;
  const ofPeak = peak ? `, ${percent(plan.measured_gflops / peak)} of the peak ${flop(peak * 1e9)}/s` : '';
  const lines = [
    `backend      ${plan.backend.name} (${plan.backend.device}): ${plan.backend.reason}`,
    `model        ${plan.parameters.toLocaleString('en')} parameters: ${shape}, vocabulary ${model.vocab_size}`,
    `compute      ${flop(plan.flop_per_token)} per token, forward and backward`,
    `tokens       ${plan.steps} steps × ${short(plan.tokens_per_step)} = ${short(plan.tokens)}`,
    `memory       ${describeMemory(memory)}`,
    `time         about ${duration(plan.seconds)} at ${short(plan.tokens_per_second)} tokens/s (${flop(plan.measured_gflops * 1e9)}/s measured${ofPeak})`,
  ];
  if (plan.first_documents) lines.push(describeSurvey(plan.first_documents));
  if (plan.problems.length > 0) lines.push('data         not ready; the row below shows a sample sentence');
  return `${lines.join('\n')}\n\nmasked row   ${plan.masked}\n\n${plainText(plan.row)}`;
}

function describeSurvey({ documents, empty, duplicates, spellings }: DocumentSurvey): string {
  const read = `data         of the first ${counted(documents, 'document')} ${empty} empty`;
  return `${read}, ${duplicates} exact duplicates, ${spellings.documents} with special tokens spelled out`;
}

/** Tokens of the row to show. */
const SHOWN_TOKENS = 48;

const SAMPLE_SENTENCE =
  'A causal decoder reads some of its words masked , and still has to name each next word : what it cannot read , ' +
  'it cannot lean on , so it looks harder at the words that matter .';

interface FirstRow {
  tokenizer?: Tokenizer;
  /** One block of T + 1 tokens, or fewer of a short text. */
  ids: Int32Array;
  pieces: string[];
  survey?: DocumentSurvey;
}

/** Returns the problems of the first records of all files. */
async function findTextProblems(config: PretrainConfig): Promise<string[]> {
  const { validation_files: files, format, text_field: textField, separator } = config.data;
  const validation = files ? [{ files, format, textField, separator, share: 0 }] : [];
  const problems: string[] = [];
  for (const source of [...sourcesOf(config), ...validation]) {
    problems.push(
      ...(await findFileProblems(source.files, (files) => readText(config, { ...source, files }))),
    );
  }
  return problems;
}

async function listTexts(config: PretrainConfig): Promise<string[]> {
  for (const { files } of sourcesOf(config)) await remoteFiles([files].flat(), config.data.cache_dir);
  return [];
}

/** Returns the first block of the training text, or a sample sentence if text or tokenizer is missing. */
async function firstRow(config: PretrainConfig, problems: Problems): Promise<FirstRow> {
  const tokenizers = await problems.attempt(() => prepareTokenizer(config));
  const hasText = config.data.keep_downloads;
  const row = hasText && tokenizers && (await problems.attempt(() => firstBlock(config, tokenizers)));
  if (row) return row;
  const pieces = SAMPLE_SENTENCE.split(' ');
  return { tokenizer: tokenizers?.masked, ids: Int32Array.from(pieces, (_, i) => i), pieces };
}

async function firstBlock(
  config: PretrainConfig,
  { plain, masked }: { plain: Tokenizer; masked: Tokenizer },
): Promise<FirstRow> {
  const blockLength = config.train.sequence_length + 1;
  const [source] = sourcesOf(config);
  const ids: number[] = [];
  for await (const { text } of readText(config, source)) {
    if (plain.bosTokenId !== undefined) ids.push(plain.bosTokenId);
    const start = text.slice(0, 16 * blockLength);
    for (const id of await plain.encode(start, { addSpecialTokens: false })) ids.push(id);
    ids.push(plain.eosTokenId!);
    if (ids.length >= blockLength) break;
  }
  if (ids.length < 2) throw new DatasetError(EMPTY_CORPUS);
  const row = Int32Array.from(ids.slice(0, blockLength));
  const shown = Array.from(row.subarray(0, SHOWN_TOKENS + 1), (id) => tokenText(masked, id));
  const survey = await surveyDocuments(readText(config, source), plain);
  return { tokenizer: masked, ids: row, pieces: await Promise.all(shown), survey };
}

/** Returns the vocabulary size from the recipe, in place of a missing tokenizer. */
export function unknownTokenizer({ model, tokenizer }: PretrainConfig): Pick<Tokenizer, 'vocabSize'> {
  const vocabSize = model.vocab_size ?? tokenizer.vocab_size;
  if (vocabSize !== undefined) return { vocabSize: vocabSize + 1 };
  throw new DatasetError('model.vocab_size: got nothing, expected a number while the tokenizer is missing');
}
