/** Splits a model's attention over the parts of its prompt (Fig. 6 and Tables 16–18 of the MEAP paper). */
import { type AnswerStore, storedAnswers } from './answers.ts';
import { meanAttention, overLayers } from './attention-means.ts';
import { EvalsError } from './error.ts';
import type { CallOptions, LanguageModel, TextTokenizer } from './language-model.ts';
import { mean, standardError } from './statistics.ts';

/** A named part of a prompt, such as `context before`, `answer`, `context after`, `query`, `EOS`. */
export type PromptPart = { readonly name: string } & (
  | { readonly text: string }
  /** For special tokens. */
  | { readonly ids: readonly number[] }
);

/** Tokens `start` to `end` − 1 of a prompt. */
export interface Segment {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** A prompt split into contiguous segments. */
export interface SegmentedPrompt {
  readonly ids: readonly number[];
  readonly segments: readonly Segment[];
}

/** Options of {@link attentionShares}. */
export interface SharesOptions extends CallOptions {
  /** Attention of the last token, or the mean over all tokens; default `last`. */
  readonly queries?: 'last' | 'all';
  /** Stores the shares of each prompt; without a store they are computed. */
  readonly store?: AnswerStore<PromptShares>;
  /** Called after each prompt. */
  readonly onProgress?: (numPrompts: number) => void;
}

/** A segment's part of the attention. */
export interface SegmentShare {
  readonly name: string;
  readonly numTokens: number;
  /** 0 to 1; the shares of a prompt sum to one. */
  readonly share: number;
  /** `share` / `numTokens`; 0 without tokens. */
  readonly perToken: number;
  /** The share in each layer. */
  readonly layers: readonly number[];
}

/** Attention shares of one prompt. */
export interface PromptShares {
  readonly segments: readonly SegmentShare[];
  /** Share of each token. */
  readonly tokens: readonly number[];
}

/** The result of {@link attentionShares}. */
export interface AttentionShares {
  readonly model: string;
  readonly queries: 'last' | 'all';
  readonly prompts: readonly PromptShares[];
  /** Means over the prompts that have a segment of this name. */
  readonly segments: readonly {
    readonly name: string;
    readonly numPrompts: number;
    readonly share: number;
    /** Standard error of `share`; absent for a single prompt. */
    readonly standardError?: number;
    readonly perToken: number;
  }[];
}

/**
 * Encodes the parts of a prompt.
 *
 * Adjacent texts are encoded together, as a model reads them; a token that spans two parts belongs to the second.
 */
export function segmentPrompt(tokenizer: TextTokenizer, parts: readonly PromptPart[]): SegmentedPrompt {
  const ids: number[] = [];
  const segments: Segment[] = [];
  for (let first = 0; first < parts.length; ) {
    const run = textRun(parts, first);
    const whole = run.length > 0 ? tokenizer.encode(run.join('')) : partIds(parts[first]);
    const runStart = ids.length;
    ids.push(...whole);
    const numParts = Math.max(1, run.length);
    for (let part = 1; part <= numParts; part++) {
      const cut =
        part === numParts ? whole.length : numShared(tokenizer.encode(run.slice(0, part).join('')), whole);
      const start = segments.at(-1)?.end ?? 0;
      segments.push({ name: parts[first + part - 1].name, start, end: Math.max(start, runStart + cut) });
    }
    first += numParts;
  }
  return { ids, segments };
}

/**
 * Splits a model's attention over the segments of prompts, averaged over layers and heads.
 *
 * @throws EvalsError for no prompts, segments with gaps or overlaps, or a model without attention; the signal's reason
 */
export async function attentionShares(
  model: LanguageModel,
  prompts: Iterable<SegmentedPrompt>,
  { queries = 'last', store, onProgress, signal }: SharesOptions = {},
): Promise<AttentionShares> {
  const shares: PromptShares[] = [];
  for (const prompt of prompts) {
    requireCover(prompt, shares.length);
    const { ids, segments } = prompt;
    const key = JSON.stringify([model.fingerprint, 'attention shares', ids, segments, queries]);
    const compute = () => sharesOf(model, prompt, queries, { signal });
    shares.push(...(await storedAnswers(store, [{ key, compute }])));
    onProgress?.(shares.length);
  }
  if (shares.length === 0) throw new EvalsError('attentionShares: got no prompts, expected at least one');
  const names = new Set(shares.flatMap(({ segments }) => segments.map(({ name }) => name)));
  const segments = Array.from(names, (name) => {
    const found = shares.flatMap(({ segments }) => segments.find((segment) => segment.name === name) ?? []);
    const values = found.map(({ share }) => share);
    return {
      name,
      numPrompts: found.length,
      share: mean(values),
      ...(found.length < 2 ? {} : { standardError: standardError(values) }),
      perToken: mean(found.map(({ perToken }) => perToken)),
    };
  });
  return { model: model.name, queries, prompts: shares, segments };
}

async function sharesOf(
  model: LanguageModel,
  { ids, segments }: SegmentedPrompt,
  queries: 'last' | 'all',
  options: CallOptions,
): Promise<PromptShares> {
  const layers = await meanAttention(model, ids, queries, options);
  const tokens = overLayers(layers);
  return {
    segments: segments.map(({ name, start, end }) => {
      const numTokens = end - start;
      const share = sum(tokens.subarray(start, end));
      const ofLayers = layers.map((keys) => sum(keys.subarray(start, end)));
      return { name, numTokens, share, perToken: share / Math.max(1, numTokens), layers: ofLayers };
    }),
    tokens: [...tokens],
  };
}

/** Texts of consecutive parts from `first`, up to the first that is not text. */
function textRun(parts: readonly PromptPart[], first: number): string[] {
  const texts: string[] = [];
  for (let part = parts[first]; part !== undefined && 'text' in part; part = parts[first + texts.length]) {
    texts.push(part.text);
  }
  return texts;
}

function partIds(part: PromptPart): readonly number[] {
  return 'ids' in part ? part.ids : [];
}

function numShared(a: readonly number[], b: readonly number[]): number {
  const different = a.findIndex((id, i) => id !== b[i]);
  return different < 0 ? a.length : different;
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

function requireCover({ ids, segments }: SegmentedPrompt, index: number): void {
  let end = 0;
  for (const segment of segments) {
    if (segment.start !== end || !(segment.end >= end)) {
      throw new EvalsError(
        `prompt ${index}: segment ${segment.name} is ${segment.start} to ${segment.end}, expected one from ${end}`,
      );
    }
    end = segment.end;
  }
  if (end !== ids.length || ids.length === 0) {
    throw new EvalsError(
      `prompt ${index}: segments end at ${end} of ${ids.length} tokens, expected them to cover all`,
    );
  }
  const names = segments.map(({ name }) => name);
  if (new Set(names).size < names.length) {
    throw new EvalsError(`prompt ${index}: two segments have the same name, got ${names.join(', ')}`);
  }
}
