/** Tells rows of tokens apart: windows of a text, random tokens. */
import { EvalsError } from './error.ts';
import type { Sample } from './result.ts';
import type { ItemRequests } from './task.ts';

/** Hash of the ids of requests (cyrb53, 53 bits). */
export function hashTokens({ requests }: ItemRequests): string {
  let [high, low] = [0xdeadbeef, 0x41c6ce57];
  const add = (value: number) => {
    high = Math.imul(high ^ value, 2654435761);
    low = Math.imul(low ^ value, 1597334677);
  };
  for (const request of requests) {
    const parts = 'context' in request ? [request.context, request.continuation] : [request.prompt];
    for (const ids of parts) {
      add(ids.length);
      for (const id of ids) add(id);
    }
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return (2 ** 32 * (high & 0x1fffff) + (low >>> 0)).toString(16);
}

/** @throws EvalsError for two rows that have one id but other tokens */
export function requireSameTokens(
  where: string,
  [a, b]: readonly [Pick<Sample, 'id' | 'tokens'>, Pick<Sample, 'id' | 'tokens'>],
): void {
  if (a.tokens === undefined || b.tokens === undefined || a.tokens === b.tokens) return;
  throw new EvalsError(
    `${where}: row ${a.id} has other tokens in each, expected the same: the models have other tokenizers or contexts; set ` +
      'the length of rows, or compare with a task of texts, such as perplexity',
  );
}
