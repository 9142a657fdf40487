import type { RankedToken } from './token-stream.ts';

/**
 * Log-probabilities at one place, from its logits `[V]`; sums are in double precision.
 *
 * @param numTop how many of the most likely tokens to rank, likeliest first; among equals the lower id comes first
 */
export function rankTokens(
  logits: Float32Array,
  id: number,
  numTop: number,
): RankedToken & { top: RankedToken[] } {
  const best: number[] = [];
  let largest = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token];
    if (logit > largest) largest = logit;
    if (best.length === numTop && !(logit > logits[best[numTop - 1]])) continue;
    let place = best.length;
    while (place > 0 && logit > logits[best[place - 1]]) place--;
    best.splice(place, 0, token);
    if (best.length > numTop) best.pop();
  }
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const logNormalizer = largest + Math.log(sum);
  const ranked = (token: number) => ({ id: token, logprob: logits[token] - logNormalizer });
  return { ...ranked(id), top: best.map(ranked) };
}
