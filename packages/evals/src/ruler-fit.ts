/** Prompts of RULER, as long as fits. */

/** A prompt and what its answer has to name. */
export interface RulerPrompt {
  readonly prompt: string;
  readonly answers: readonly string[];
}

/** What makes the prompts of one task at one length. */
export interface PromptSource {
  /** A prompt with so much hay around what is hidden: sentences, words or needles. */
  readonly draw: (size: number) => RulerPrompt;
  /** Tokens of a text. */
  readonly count: (text: string) => number;
  /** Tokens kept free for the answer. */
  readonly numFree: number;
  /** Least hay, and how much is taken away from a prompt that came out too long. */
  readonly step: number;
  /** Hay of the prompt that shows how many tokens a piece of hay has. */
  readonly probe: number;
  /** Most hay to try, from the tokens of a piece. */
  readonly upperBound: (tokensPerPiece: number) => number;
  /** What stands in front of every prompt, drawn anew each time; nothing when absent. */
  readonly front?: { readonly numTokens: number; readonly draw: () => string };
}

/** Draws that come out too long before a length is given up: hay may be at its least already. */
const MAX_DRAWS = 100;

/**
 * Prompts that leave `numFree` of `length` tokens free: the most hay that fits is found by halving, then prompts are
 * drawn with it, and drawn again with less where one comes out longer.
 *
 * The order of draws is RULER's, in the search too, so the prompts are. They go on for ever; they end where none fits.
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
