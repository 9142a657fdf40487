import type { CounterRandom } from './counter-random.ts';

/** Chooses `max(1, floor(T · P))` of the candidates, or all of them if there are fewer. */
export function exactCountPositions(
  candidates: Int32Array,
  length: number,
  ratio: number,
  random: CounterRandom,
): Int32Array {
  const count = Math.min(Math.max(1, Math.floor(length * ratio)), candidates.length);
  return random.nextSubset(candidates, count);
}

/** Chooses each candidate independently with probability `ratio`, to the nearest 2^-32. */
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
 * Chooses non-overlapping spans of `spanLength` candidates, floor(T · P) positions in total; one span is shorter.
 *
 * Spans and unmasked candidates are shuffled as items: drawing which of the `free + numSpans` items are spans gives
 * every arrangement the same probability in one pass. Placing spans one by one with retries would not end at high
 * ratios.
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
  const items = Int32Array.from({ length: numItems }, (_, i) => i);
  const starts = random.nextSubset(items, numSpans);
  const cutSpan = random.nextBelow(numSpans);
  let filled = 0;
  for (let span = 0; span < numSpans; span++) {
    // Item index of the span plus the positions that earlier spans take beyond one item each.
    const start = starts[span] - span + filled;
    const end = start + (span === cutSpan ? lastLength : spanLength);
    for (let i = start; i < end; i++) positions[filled++] = candidates[i];
  }
  return positions;
}
