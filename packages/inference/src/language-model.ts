/** Implements {@link LanguageModel} for LLaMA, Mistral, Qwen, SmolLM and OLMo 2. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  AttentionBlock,
  CallOptions,
  ChatFormat,
  GenerateRequest,
  Generation,
  LanguageModel,
  Score,
  ScoreRequest,
  TextTokenizer,
} from '@meap/evals';
import { attentionMaps, contextLengthOf, type Llama } from '@meap/llama-model';
import { type BackendDescription, compilesShapes, embedding, type Precision } from '@meap/tensor-kernels';
import { loadTokenizer, type Tokenizer } from '@meap/token-dataset';
import * as tf from '@tensorflow/tfjs-core';
import { chatFormatOf, openChatTemplate } from './chat-format.ts';
import { ModelError } from './errors.ts';
import { type FindModelOptions, findModel, modelName } from './find-model.ts';
import { fingerprintOf } from './fingerprint.ts';
import { generateTexts } from './generate-texts.ts';
import { type ComputeOptions, loadModel } from './load-model.ts';
import { type PackedRow, packRequests } from './pack-requests.ts';
import { type DisposableTokenizer, openTextTokenizer } from './text-tokenizer.ts';
import { yieldToEventLoop } from './yield-to-event-loop.ts';

/** Options of {@link openLanguageModel}. */
export interface OpenLanguageModelOptions extends ComputeOptions, FindModelOptions {
  /** A Hugging Face folder, a PEFT adapter, a run directory, or a name of the Hub as in `findModel`. */
  model: string;
  /** Opens the model with a chat template, as `openChatFormat`; default: without one. */
  chatTemplate?: true | string;
}

/** A model with all methods, and a chat template if it was opened with one. */
export type FullLanguageModel = Required<Omit<LanguageModel, 'chat'>> & Pick<LanguageModel, 'chat'>;

/** A model in memory. */
export interface OpenLanguageModel extends FullLanguageModel {
  /** The backend, and why it was chosen. */
  readonly backend: BackendDescription;
  readonly precision: Precision;
  /** Frees the weights and the tokenizer. */
  dispose(): void;
}

/** Tokens per row: enough to use all cores, with activations small compared to the weights. */
const ROW_TOKENS = 2048;

/** Fraction of the available memory used for key/value caches. */
const CACHE_SHARE = 0.25;

/**
 * Loads a model. Sets the backend and precision of the process.
 *
 * @throws ModelError for a folder without a model; TemplateError for a chat template that does not exist; errors of `@meap/llama-model`, `@meap/safetensors` and
 *   `@meap/token-dataset` for a damaged model; BackendError
 */
export async function openLanguageModel(options: OpenLanguageModelOptions): Promise<OpenLanguageModel> {
  const { precision = 'float32', quantize } = options;
  const directory = await findModel(options.model, options);
  const { base, adapter, tokenizer: tokenizerDirectory } = directory;
  const tokenizer = loadTokenizer(tokenizerDirectory);
  const template =
    options.chatTemplate && openChatTemplate(tokenizerDirectory, tokenizer, options.chatTemplate);
  const { model, backend } = await loadModel(directory, options);
  try {
    const folders = [...new Set([base, ...(adapter ? [adapter] : []), tokenizerDirectory])];
    const textTokenizer = await openTextTokenizer(tokenizerDirectory, tokenizer);
    const languageModel = new LlamaLanguageModel({
      name: modelName(options.model),
      fingerprint: await fingerprintOf(folders, {
        precision,
        backend: backend.name,
        ...(quantize && { quantize }),
      }),
      model,
      tokenizer,
      textTokenizer,
      ...(template && { chat: chatFormatOf(template, textTokenizer) }),
    });
    const dispose = () => {
      model.dispose();
      textTokenizer.dispose();
    };
    return Object.assign(languageModel, { backend, precision, dispose });
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The result of {@link languageModelOf}. */
export interface ModelInMemory extends FullLanguageModel {
  /** Ends the thread of its tokenizer; the weights stay. */
  dispose(): void;
}

/**
 * A model in memory for evaluation, such as one in training; answers are those of its weights at the time. They have no
 * fingerprint that a cache could use.
 */
export async function languageModelOf(model: Llama, tokenizer: Tokenizer): Promise<ModelInMemory> {
  // The thread of the tokenizer reads it from files.
  const folder = mkdtempSync(join(tmpdir(), 'meap-tokenizer-'));
  try {
    tokenizer.save(folder);
    const textTokenizer = await openTextTokenizer(folder, tokenizer);
    const parts = { name: 'a model in memory', fingerprint: '', model, tokenizer, textTokenizer };
    return Object.assign(new LlamaLanguageModel(parts), { dispose: () => textTokenizer.dispose() });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Parts extends Pick<LanguageModel, 'name' | 'fingerprint' | 'chat'> {
  model: Llama;
  tokenizer: Tokenizer;
  textTokenizer: DisposableTokenizer;
}

class LlamaLanguageModel implements FullLanguageModel {
  readonly name: string;
  readonly fingerprint: string;
  readonly contextLength: number;
  readonly tokenizer: TextTokenizer;
  readonly chat?: ChatFormat;
  readonly #model: Llama;
  readonly #decoder: Tokenizer;

  constructor({ name, fingerprint, model, tokenizer, textTokenizer, chat }: Parts) {
    this.name = name;
    this.fingerprint = fingerprint;
    this.contextLength = contextLengthOf(model.config);
    this.tokenizer = textTokenizer;
    if (chat) this.chat = chat;
    this.#model = model;
    this.#decoder = tokenizer;
  }

  async score(requests: readonly ScoreRequest[], { signal }: CallOptions = {}): Promise<Score[]> {
    for (const request of requests) requireScorable(request, this.contextLength);
    const scores: Score[] = new Array(requests.length);
    // A sliding window counts keys along the row, in which a shared context may be further away.
    const shareContexts = this.#model.config.sliding_window == null;
    const options = { contextLength: this.contextLength, rowTokens: ROW_TOKENS, shareContexts };
    for (const row of packRequests(requests, options)) {
      await yieldToEventLoop(signal);
      const { logProbabilities, greedyIds } = await scoreRow(this.#model, row);
      let next = 0;
      for (const { request, targets } of row.reads) {
        let logLikelihood = 0;
        let isGreedy = true;
        for (const target of targets) {
          logLikelihood += logProbabilities[next];
          if (greedyIds[next] !== target) isGreedy = false;
          next++;
        }
        scores[request] = { logLikelihood, isGreedy };
      }
    }
    return scores;
  }

  generate(requests: readonly GenerateRequest[], { signal }: CallOptions = {}): Promise<Generation[]> {
    const cacheBytes = process.availableMemory() * CACHE_SHARE;
    return generateTexts(this.#model, this.#decoder, requests, { cacheBytes, signal });
  }

  attention(
    ids: readonly number[],
    visit: (block: AttentionBlock) => void,
    options?: CallOptions,
  ): Promise<void> {
    return attentionMaps(this.#model, ids, visit, options);
  }
}

/** The number of values is a multiple of this on a backend that compiles a program for each shape. */
const COMPILED_VALUES = 128;

/** A segment that no token of a row has. */
const PADDING_SEGMENT = -1;

/** The values, padded to one of few lengths on a backend that compiles a program for each. */
function roundedUp(values: number[], padding = 0): number[] {
  if (!compilesShapes()) return values;
  const length = Math.ceil(values.length / COMPILED_VALUES) * COMPILED_VALUES;
  return [...values, ...Array<number>(length - values.length).fill(padding)];
}

/** Computes log-probabilities and greedy ids of all targets of a row, in order, then perhaps of padding. */
async function scoreRow(
  model: Llama,
  row: PackedRow,
): Promise<{ logProbabilities: Float32Array; greedyIds: Int32Array }> {
  const scores = tf.tidy(() => {
    const row_1T = (values: number[], padding = 0) => {
      const padded = roundedUp(values, padding);
      return tf.tensor2d(padded, [1, padded.length], 'int32');
    };
    const hidden_1TE = model.hidden(row_1T(row.ids), {
      positions: row_1T(row.positions),
      segmentIds: row_1T(row.segmentIds, PADDING_SEGMENT),
      prefixIds: row_1T(row.prefixIds, PADDING_SEGMENT),
    });
    const targets_N = tf.tensor1d(
      roundedUp(row.reads.flatMap(({ targets }) => targets as number[])),
      'int32',
    );
    // embedding is a gather with an optimized kernel.
    const at_1N = row_1T(row.reads.flatMap(({ at }) => at));
    const hidden_NE = embedding(at_1N, hidden_1TE.squeeze([0])).squeeze<tf.Tensor2D>([0]);
    return { ...model.logProbabilities(hidden_NE, targets_N) };
  });
  const [logProbabilities, greedyIds] = await Promise.all([
    scores.logProbabilities.data() as Promise<Float32Array>,
    scores.greedyIds.data() as Promise<Int32Array>,
  ]);
  tf.dispose([scores.logProbabilities, scores.greedyIds]);
  return { logProbabilities, greedyIds };
}

function requireScorable({ context, continuation }: ScoreRequest, contextLength: number): void {
  if (context.length === 0 || continuation.length === 0) {
    throw new ModelError(
      `score: got ${context.length} tokens of context and ${continuation.length} of continuation, expected at least ` +
        'one of each; start an empty context with the BOS or EOS id',
    );
  }
  if (continuation.length > contextLength) {
    throw new ModelError(
      `score: got a continuation of ${continuation.length} tokens, which exceeds the context of ${contextLength}; score it in parts`,
    );
  }
}
