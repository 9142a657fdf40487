/** What a run would be and take: sizes, memory, time from a short measurement, one masked row. Nothing is trained. */
import { countParameters, flopsPerToken, type LlamaConfig } from '@meap/llama-model';
import { createMasker, describeMask, renderMaskedRow } from '@meap/meap-masking';
import { describeMemory, duration, flop, type MemoryPlan, percent, plainText, short } from '@meap/recipe-cli';
import { type BackendDescription, setBackend, setPrecision } from '@meap/tensor-kernels';
import type { Tokenizer } from '@meap/token-dataset';
import { DatasetError, TokenizerError } from '@meap/token-dataset';
import { machinePeak, measureRate } from './estimate.ts';
import { planPretraining } from './memory-plan.ts';
import { modelConfig, withOrigin } from './model.ts';
import { configuredMasker } from './objective.ts';
import { prepareTokenizer, readText } from './prepare-data.ts';
import type { PretrainConfig } from './resolve-config.ts';

/** What {@link dryRun} finds out. */
export interface DryRunPlan {
  backend: BackendDescription;
  /** Dense multiply-add rate of the machine in GFLOP/s; null where it cannot be measured. */
  peak_gflops: number | null;
  model: LlamaConfig;
  parameters: number;
  flop_per_token: number;
  steps: number;
  tokens_per_step: number;
  tokens: number;
  memory_bytes: MemoryPlan;
  /** Rate that a training step of this shape reached here in GFLOP/s, in a short measurement. */
  measured_gflops: number;
  tokens_per_second: number;
  seconds: number;
  /** What a run would complain of first; null where text and tokenizer are there. */
  data_problem: string | null;
  /** How many tokens of the row are masked. */
  masked: string;
  /** The beginning of a row in text: inputs above targets. */
  row: string;
}

/** Plans a run without training; trains the tokenizer if there is none yet, since the row needs it. */
export async function dryRun(given: PretrainConfig, width = 100): Promise<DryRunPlan> {
  const config = await withOrigin(given);
  const backend = await setBackend(config.backend);
  setPrecision(config.precision);
  const { max_steps: steps, global_batch_size, sequence_length, recompute } = config.train;
  const text = await firstRow(config);
  const model = text.tokenizer
    ? modelConfig(config, text.tokenizer)
    : modelWithoutTokenizer(config, text.problem);
  const tokensPerStep = global_batch_size * sequence_length;
  const parameters = countParameters(model);
  const flop_per_token = flopsPerToken(model, sequence_length);
  const measured = await measureRate(model, sequence_length, recompute);
  const tokensPerSecond = measured / flop_per_token;
  const masker = text.tokenizer
    ? configuredMasker(config, text.tokenizer)
    : createMasker({
        ...config.masking,
        spanLength: config.masking.span_length,
        maskId: model.vocab_size - 1,
        seed: config.seed,
      });
  const positions = masker.positions(text.ids.subarray(0, -1), { step: 0, row: 0 });
  const shown = Math.min(text.pieces.length - 1, SHOWN_TOKENS);
  return {
    backend,
    peak_gflops: await machinePeak(config.precision),
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
    data_problem: text.problem,
    masked: describeMask({ length: text.ids.length - 1, positions }),
    row: renderMaskedRow(
      text.pieces.slice(0, shown + 1),
      positions.filter((at) => at < shown),
      {
        width,
        maskToken: config.tokenizer.mask_token,
      },
    ),
  };
}

/** The plan as text for people. */
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
    `time         about ${duration(plan.seconds)} at ${short(plan.tokens_per_second)} tokens/s (${flop(plan.measured_gflops * 1e9)}/s, timed now${ofPeak})`,
  ];
  if (plan.data_problem)
    lines.push(`data         not ready, a sample sentence stands in below: ${plan.data_problem}`);
  return `${lines.join('\n')}\n\nmasked row   ${plan.masked}\n\n${plainText(plan.row)}`;
}

/** Tokens of the row that are drawn. */
const SHOWN_TOKENS = 48;

const SAMPLE_SENTENCE =
  'A causal decoder reads some of its words masked , and still has to name each next word : what it cannot read , ' +
  'it cannot lean on , so it looks harder at the words that matter .';

interface FirstRow {
  tokenizer?: Tokenizer;
  /** One block: T + 1 tokens, or fewer where the text has no more. */
  ids: Int32Array;
  pieces: string[];
  problem: string | null;
}

/** The first block of the training text, or words of a sentence where text or tokenizer are missing. */
async function firstRow(config: PretrainConfig): Promise<FirstRow> {
  const blockLength = config.train.sequence_length + 1;
  let tokenizer: Tokenizer | undefined;
  try {
    const { plain, masked } = await prepareTokenizer(config);
    tokenizer = masked;
    const ids: number[] = [];
    for await (const { text } of readText(config)) {
      if (plain.bosTokenId !== undefined) ids.push(plain.bosTokenId);
      for (const id of await plain.encode(text.slice(0, 16 * blockLength), { addSpecialTokens: false }))
        ids.push(id);
      ids.push(plain.eosTokenId!);
      if (ids.length >= blockLength) break;
    }
    if (ids.length < 2) throw new DatasetError('empty corpus: the files hold no text');
    const row = Int32Array.from(ids.slice(0, blockLength));
    const pieces = await Promise.all(
      Array.from(row.subarray(0, SHOWN_TOKENS + 1), (id) => pieceOf(masked, id)),
    );
    return { tokenizer, ids: row, pieces, problem: null };
  } catch (error) {
    if (!(error instanceof DatasetError || error instanceof TokenizerError)) throw error;
    const pieces = SAMPLE_SENTENCE.split(' ');
    return { tokenizer, ids: Int32Array.from(pieces, (_, i) => i), pieces, problem: error.message };
  }
}

/** A token as it stands in the text; decoding alone would drop the space that SentencePiece writes as ▁. */
async function pieceOf(tokenizer: Tokenizer, id: number): Promise<string> {
  const token = tokenizer.idToToken(id) ?? '';
  return token.startsWith('▁') ? token.replaceAll('▁', ' ') : tokenizer.decode([id]);
}

function modelWithoutTokenizer(config: PretrainConfig, problem: string | null): LlamaConfig {
  const vocabSize = config.model.vocab_size ?? config.tokenizer.vocab_size;
  if (vocabSize === undefined)
    throw new TokenizerError(`${problem}; without it model.vocab_size has to be given`);
  return modelConfig(config, { vocabSize: vocabSize + 1 });
}
