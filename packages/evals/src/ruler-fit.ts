/** Fits RULER's prompts to a length. */

/** A prompt and its answers. */
export interface RulerPrompt {
  readonly prompt: string;
  readonly answers: readonly string[];
}

/** What the prompts of every task depend on. */
export interface DrawOptions {
  readonly seed: number;
  readonly length: number;
  /** Counts the tokens of a text. */
  readonly count: (text: string) => number;
}

/** Draws the prompts of one task at one length. */
export interface PromptSource {
  /** A prompt with `size` pieces of hay: sentences, words or needles. */
  readonly draw: (size: number) => RulerPrompt;
  readonly count: DrawOptions['count'];
  /** Free tokens for the answer. */
  readonly numFree: number;
  /** Minimum size, and by how much the size of a prompt that is too long is reduced. */
  readonly step: number;
  /** Size of the prompt that estimates the tokens per piece. */
  readonly probe: number;
  /** Maximum size to try, from the tokens per piece. */
  readonly upperBound: (tokensPerPiece: number) => number;
  /** Text before every prompt, drawn each time. */
  readonly front?: { readonly numTokens: number; readonly draw: () => string };
}

/** Prompts that may be too long before a length is given up, since the size may be at its minimum. */
const MAX_DRAWS = 100;

/**
 * Prompts that leave `numFree` of `length` tokens free: binary search finds the largest size that fits, then prompts are
 * drawn with it, or with a smaller one if a prompt is too long.
 *
 * The order of draws is RULER's, also in the search, so that the prompts are equal. The sequence is infinite; it ends if
 * no prompt fits.
 */
export function* fittedPrompts(source: PromptSource, length: number): Generator<RulerPrompt, undefined> {
  const { draw, count, numFree, step, probe, front } = source;
  const tokensPerPiece = count(draw(probe).prompt) / probe;
  let [low, high] = [step, Math.max(source.upperBound(tokensPerPiece), 2 * step)];
  let size = step;
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    if (count(draw(middle).prompt) + (front?.numTokens ?? 0) + numFree <= length) {
      size = middle;
      low = middle + 1;
    } else high = middle - 1;
  }
  for (;;) {
    let used = size;
    let fitting: RulerPrompt | undefined;
    for (let tries = 0; fitting === undefined; tries++) {
      if (tries === MAX_DRAWS) return;
      const { prompt, answers } = draw(used);
      const whole = (front?.draw() ?? '') + prompt;
      if (count(whole) + numFree <= length) fitting = { prompt: whole, answers };
      else if (used > step) used -= step;
    }
    yield fitting;
  }
}
