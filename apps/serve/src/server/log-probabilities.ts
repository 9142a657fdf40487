import type { RankedToken } from './token-stream.ts';

/**
 * Computes log-probabilities from the logits `[V]` of a position, in double precision.
 *
 * @param numTop number of most likely tokens to return, in descending order; equal ones by ascending id
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
    let rank = best.length;
    while (rank > 0 && logit > logits[best[rank - 1]]) rank--;
    best.splice(rank, 0, token);
    if (best.length > numTop) best.pop();
  }
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const logNormalizer = largest + Math.log(sum);
  const ranked = (token: number) => ({ id: token, logprob: logits[token] - logNormalizer });
  return { ...ranked(id), top: best.map(ranked) };
}
