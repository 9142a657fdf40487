/** Compares the attention of a MEAP model and an NTP model. */
import { findData, findOptionalData, readRows, readTexts } from '@meap/eval-recipes';
import {
  type AttentionContrast,
  type AttentionShares,
  attentionShares,
  contrastAttention,
  EvalsError,
  type MaskedSequence,
  readRow,
  type SegmentedPrompt,
  segmentPrompt,
  type TextTokenizer,
} from '@meap/evals';
import {
  findModel,
  ModelError,
  type OpenLanguageModel,
  openLanguageModel,
  TokenTexts,
} from '@meap/inference';
import { createMasker } from '@meap/meap-masking';
import { ConfigurationError } from '@meap/recipe-cli';
import { loadTokenizer, type Tokenizer, vocabularyDifference } from '@meap/token-dataset';
import type { CommandConfig } from './config.ts';
import type { AttentionEvent } from './events.ts';
import { AnswerStores } from './sqlite-answer-store.ts';

/** The results of {@link runAttention}. */
export interface AttentionResults {
  readonly contrasts: readonly (AttentionContrast & { readonly length: number })[];
  /** Attention shares of the NTP model and of the MEAP model; empty without prompts. */
  readonly shares: readonly AttentionSharesOfTexts[];
}

/** Attention shares of a model with the texts of the tokens. */
export type AttentionSharesOfTexts = AttentionShares & {
  /** The text of each token of each prompt; a character that spans tokens belongs to the last. */
  readonly tokenTexts: readonly (readonly string[])[];
};

/** Options of {@link runAttention}. */
export interface RunAttentionOptions {
  /** Folder in which the attention on each sequence is cached; by default it is not. */
  readonly cache?: string;
  readonly signal?: AbortSignal;
  /** Called synchronously for each event; must not throw. */
  readonly onEvent?: (event: AttentionEvent) => void;
}

/**
 * Compares attention on texts, which the MEAP model reads with masks (Table 10 and Figure 6 of the MEAP paper).
 *
 * Texts are concatenated, each after a BOS, and split into sequences. Masks are drawn from the seed, as in pre-training.
 *
 * @throws errors for which `isUserError` holds, with one-line messages
 */
export async function runAttention(
  paths: { readonly ntp: string; readonly meap: string },
  config: CommandConfig,
  { cache, signal, onEvent = () => {} }: RunAttentionOptions = {},
): Promise<AttentionResults> {
  const { sequences, lengths, mask_ratio: ratio, queries } = config.attention;
  const { backend, precision, seed } = config;
  const { texts: files } = await findData(['texts'], config);
  const promptFiles = await findOptionalData('attention_prompts', config);
  const texts = await readTexts(files);
  const tokenizers: Tokenizer[] = [];
  for (const path of [paths.ntp, paths.meap])
    tokenizers.push(loadTokenizer((await findModel(path)).tokenizer));
  requireSameVocabulary(tokenizers, paths);
  const onWarning = (message: string) => onEvent({ type: 'warning', message });
  const stores = cache === undefined ? undefined : new AnswerStores(cache, { signal, onWarning });
  const maskId = requireMaskId(tokenizers[1], paths.meap);
  const opened: OpenLanguageModel[] = [];
  try {
    for (const model of [paths.ntp, paths.meap]) {
      signal?.throwIfAborted();
      const one = await openLanguageModel({ model, backend, precision });
      opened.push(one);
      if (opened.length === 1) onEvent({ type: 'backend', ...one.backend });
      const { name, contextLength, fingerprint } = one;
      onEvent({ type: 'model', name, contextLength, fingerprint });
    }
    const [ntp, meap] = opened;
    requireLengths(lengths, Math.min(ntp.contextLength, meap.contextLength));
    const rows = promptFiles ? await readRows(promptFiles) : [];
    const prompts =
      rows.length === 0 ? [] : opened.map((model) => rows.map((row, i) => segment(i, row, model)));
    const contrasts: (AttentionContrast & { length: number })[] = [];
    for (const length of lengths) {
      const masker = createMasker({ ratio, maskId, seed });
      const masked = splitTexts(texts, ntp.tokenizer, { length, sequences }).map(
        (ids, row): MaskedSequence => {
          return { ids, maskedPositions: [...masker.positions(Int32Array.from(ids), { step: 0, row })] };
        },
      );
      const onProgress = (done: number) =>
        onEvent({ type: 'stage', stage: `length ${length}`, unit: 'sequences', done, total: sequences });
      const found = await contrastAttention(ntp, meap, masked, {
        maskId,
        store: stores?.of('attention'),
        signal,
        onProgress,
      });
      contrasts.push({ length, ...found });
    }
    const shares: AttentionSharesOfTexts[] = [];
    for (const [side, segmented] of prompts.entries()) {
      const model = opened[side];
      const total = segmented.length;
      const onProgress = (done: number) =>
        onEvent({ type: 'stage', stage: model.name, unit: 'prompts', done, total });
      const found = await attentionShares(model, segmented, {
        queries,
        store: stores?.of('attention'),
        signal,
        onProgress,
      });
      const texts = new TokenTexts(tokenizers[side]);
      const tokenTexts = await Promise.all(segmented.map(({ ids }) => texts.split(ids)));
      shares.push({ ...found, tokenTexts });
    }
    return { contrasts, shares };
  } finally {
    for (const model of opened) model.dispose();
  }
}

/** The ids of a sequence, read by both models, must mean the same text. */
function requireSameVocabulary(
  [ntp, meap]: readonly Tokenizer[],
  paths: { ntp: string; meap: string },
): void {
  const difference = vocabularyDifference(ntp, meap);
  if (difference === undefined) return;
  throw new ModelError(
    `attention: the vocabularies of ${paths.ntp} and ${paths.meap} differ: ${difference}; expected the same tokens but for ` +
      'the mask token, since both models read the same ids; choose models trained with one tokenizer',
  );
}

/** Returns the mask id of the MEAP model. */
function requireMaskId({ maskTokenId }: Tokenizer, path: string): number {
  if (maskTokenId !== undefined) return maskTokenId;
  throw new ModelError(
    `model ${path}: its tokenizer has no mask token, expected a model trained with MEAP; set mask_token in ` +
      'tokenizer_config.json if it has another name',
  );
}

function requireLengths(lengths: readonly number[], max: number): void {
  const tooLong = lengths.find((length) => length > max);
  if (tooLong === undefined) return;
  throw new ConfigurationError([
    `attention.lengths: got ${tooLong}, expected at most ${max}, the context of the models; set attention.lengths`,
  ]);
}

/** Splits texts into sequences of equal length. */
function splitTexts(
  texts: readonly string[],
  tokenizer: TextTokenizer,
  { length, sequences }: { length: number; sequences: number },
): number[][] {
  const stream: number[] = [];
  for (const text of texts) {
    if (stream.length >= length * sequences) break;
    if (tokenizer.bosId !== undefined) stream.push(tokenizer.bosId);
    for (const id of tokenizer.encode(text)) stream.push(id);
  }
  const found = Math.floor(stream.length / length);
  if (found < sequences) {
    throw new EvalsError(
      `attention: got texts for ${found} sequences of ${length} tokens, expected ${sequences}; add texts or ` +
        'lower attention.sequences',
    );
  }
  return Array.from({ length: sequences }, (_, i) => stream.slice(i * length, (i + 1) * length));
}

function segment(
  index: number,
  record: unknown,
  { tokenizer, contextLength }: OpenLanguageModel,
): SegmentedPrompt {
  const where = `attention_prompts, row ${index}`;
  const row = readRow(where, record);
  const { bosId, eosId } = tokenizer;
  const prompt = segmentPrompt(tokenizer, [
    ...(bosId === undefined ? [] : [{ name: 'BOS', ids: [bosId] }]),
    { name: 'context before', text: row.text('context_before') },
    { name: 'answer', text: row.text('answer') },
    { name: 'context after', text: row.text('context_after') },
    { name: 'query', text: row.text('query') },
    ...(eosId === undefined ? [] : [{ name: 'EOS', ids: [eosId] }]),
  ]);
  if (prompt.ids.length > contextLength) {
    throw new EvalsError(
      `${where}: got a prompt of ${prompt.ids.length} tokens, expected at most ${contextLength}, the context of the model; shorten it`,
    );
  }
  return prompt;
}
