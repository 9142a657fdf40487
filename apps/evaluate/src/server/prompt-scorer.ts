import { KeyValueCache, type Llama } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs';
import { rankTokens } from './log-probabilities.ts';
import type { StreamedToken } from './token-stream.ts';

// Tokens read in one go: enough to keep every core busy, few enough that others are answered in between.
const PIECE = 512;
// Places whose logits are held at once: 32 MB for a vocabulary of 128,000.
const SCORED_ROWS = 64;

/**
 * Log-probabilities of a prompt's own tokens and of what could follow it, read piece by piece.
 *
 * Suffixes: T tokens, E hidden size, N places, V vocabulary.
 */
export class PromptScorer {
  readonly #model: Llama;
  readonly #promptIds: readonly number[];
  readonly #numTop: number;
  readonly #cache: KeyValueCache;

  /** @param numTop how many of the most likely tokens to rank at each place */
  constructor(model: Llama, promptIds: readonly number[], numTop: number) {
    this.#model = model;
    this.#promptIds = promptIds;
    this.#numTop = numTop;
    this.#cache = new KeyValueCache({ capacity: promptIds.length });
  }

  get isDone(): boolean {
    return this.#cache.length === this.#promptIds.length;
  }

  /**
   * Reads on, and returns the tokens that are now known: the first one as it is, each other one from the place before it,
   * and last, behind the prompt, the most likely new one.
   */
  async readPiece(): Promise<StreamedToken[]> {
    const start = this.#cache.length;
    const piece = this.#promptIds.slice(start, start + PIECE);
    const hidden_TE = tf.tidy(() => {
      const ids_1T = tf.tensor2d(piece, [1, piece.length], 'int32');
      return this.#model.hidden(ids_1T, { cache: this.#cache }).squeeze<tf.Tensor2D>([0]);
    });
    const tokens: StreamedToken[] = start === 0 ? [{ id: piece[0], isPrompt: true }] : [];
    try {
      for (let place = 0; place < piece.length; place += SCORED_ROWS) {
        const count = Math.min(SCORED_ROWS, piece.length - place);
        const logits_NV = tf.tidy(() => this.#model.unembed(hidden_TE.slice([place, 0], [count, -1])));
        const logits = (await logits_NV.data()) as Float32Array;
        logits_NV.dispose();
        const V = logits.length / count;
        for (let i = 0; i < count; i++) {
          const next = this.#promptIds.at(start + place + i + 1);
          const ranked = rankTokens(logits.subarray(i * V, (i + 1) * V), next, this.#numTop);
          tokens.push({ isPrompt: next !== undefined, ...ranked });
        }
      }
      return tokens;
    } finally {
      hidden_TE.dispose();
    }
  }

  dispose(): void {
    this.#cache.dispose();
  }
}
