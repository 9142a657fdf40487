import type { CounterRandom } from './counter-random.ts';

/**
 * Chooses exactly `count` of the first `candidates.length` places, each subset equally likely.
 *
 * A partial Fisher-Yates shuffle: its cost does not grow with the ratio. `candidates` is reordered.
 */
function sampleWithoutReplacement(candidates: Int32Array, count: number, random: CounterRandom): Int32Array {
  const size = candidates.length;
  for (let i = 0; i < count; i++) {
    const pick = i + random.nextBelow(size - i);
    const chosen = candidates[pick];
    candidates[pick] = candidates[i];
    candidates[i] = chosen;
  }
  return candidates.slice(0, count).sort();
}

/** `max(1, floor(T · P))` positions out of the candidates, or all of them where there are fewer. */
export function exactCountPositions(
  candidates: Int32Array,
  length: number,
  ratio: number,
  random: CounterRandom,
): Int32Array {
  const count = Math.min(Math.max(1, Math.floor(length * ratio)), candidates.length);
  return sampleWithoutReplacement(candidates, count, random);
}

/** Each candidate on its own with probability `ratio`, to the nearest 2^-32. */
export function bernoulliPositions(candidates: Int32Array, ratio: number, random: CounterRandom): Int32Array {
  const threshold = Math.round(ratio * 2 ** 32);
  const positions = new Int32Array(candidates.length);
  let count = 0;
  for (const candidate of candidates) {
    if (random.nextUint32() < threshold) positions[count++] = candidate;
  }
  return positions.slice(0, count);
}

/**
 * Non-overlapping spans of `spanLength` candidates until floor(T · P) are masked, the last one cut short.
 *
 * Spans and unmasked candidates are shuffled as whole items: choosing which of the `free + numSpans` items are
 * spans makes every arrangement equally likely in one pass, at any ratio, where placing spans one after another
 * and retrying on overlap would not end at high ratios.
 */
export function spanPositions(
  candidates: Int32Array,
  length: number,
  ratio: number,
  spanLength: number,
  random: CounterRandom,
): Int32Array {
  const count = Math.min(Math.floor(length * ratio), candidates.length);
  const positions = new Int32Array(count);
  if (count === 0) return positions;
  const numSpans = Math.ceil(count / spanLength);
  const lastLength = count - (numSpans - 1) * spanLength;
  const numItems = candidates.length - count + numSpans;
  const starts = sampleWithoutReplacement(
    Int32Array.from({ length: numItems }, (_, i) => i),
    numSpans,
    random,
  );
  const cutSpan = random.nextBelow(numSpans);
  let filled = 0;
  for (let span = 0; span < numSpans; span++) {
    // Item index of the span + what the spans before it take beyond their one item each.
    const start = starts[span] - span + filled;
    const end = start + (span === cutSpan ? lastLength : spanLength);
    for (let i = start; i < end; i++) positions[filled++] = candidates[i];
  }
  return positions;
}
