/**
 * Score requests as rows for one forward pass each: no padding, and a context that several requests share is in a row
 * once, with their continuations behind it.
 */
import type { ScoreRequest } from '@meap/evals';

/** One row `[1, T]` of the model's input, and what to read from it. */
export interface PackedRow {
  readonly ids: number[];
  /** Each token's place in its own sequence. */
  readonly positions: number[];
  readonly segmentIds: number[];
  /** The segment of the context before a continuation's tokens; a context's own. */
  readonly prefixIds: number[];
  readonly reads: Read[];
}

/** Where a request's answer stands in a row. */
interface Read {
  /** Which request. */
  readonly request: number;
  /** Tokens of the row whose successors are scored. */
  readonly at: number[];
  /** Those successors. */
  readonly targets: readonly number[];
}

/** Options of {@link packRequests}. */
export interface PackOptions {
  /** Most tokens that the model reads of one request; of a longer one the oldest are dropped. */
  readonly contextLength: number;
  /** A row is full at this many tokens; a longer request has a row of its own. */
  readonly rowTokens: number;
  /** Whether equal contexts are read once; not for a model whose attention has a window, which counts along the row. */
  readonly shareContexts: boolean;
}

/**
 * Packs requests into rows, in an order in which each context occurs as seldom as can be.
 *
 * The last token of a continuation is never read. A continuation longer than the context must have been refused.
 */
export function* packRequests(
  requests: readonly ScoreRequest[],
  { contextLength, rowTokens, shareContexts }: PackOptions,
): Generator<PackedRow> {
  let row = emptyRow();
  let segment = 0;
  for (const { context, members } of groupByContext(requests, contextLength, shareContexts)) {
    let contextStart = -1;
    let contextSegment = 0;
    for (const index of members) {
      const { continuation } = requests[index];
      const unread = continuation.length - 1;
      const needed = unread + (contextStart < 0 ? context.length : 0);
      if (row.ids.length > 0 && row.ids.length + needed > rowTokens) {
        yield row;
        row = emptyRow();
        contextStart = -1;
      }
      if (contextStart < 0) {
        contextStart = row.ids.length;
        contextSegment = segment++;
        append(row, context, 0, contextSegment, contextSegment);
      }
      const start = row.ids.length;
      // Alone behind its context, a continuation is the rest of one sequence.
      const own = members.length === 1 ? contextSegment : segment++;
      append(row, continuation.slice(0, unread), context.length, own, contextSegment);
      const at = [contextStart + context.length - 1];
      for (let i = 0; i < unread; i++) at.push(start + i);
      row.reads.push({ request: index, at, targets: continuation });
    }
  }
  if (row.reads.length > 0) yield row;
}

/** Requests by the context that is left of theirs when the oldest tokens beyond the model's are dropped. */
function groupByContext(
  requests: readonly ScoreRequest[],
  contextLength: number,
  share: boolean,
): Iterable<{ context: readonly number[]; members: number[] }> {
  const groups = new Map<string | number, { context: readonly number[]; members: number[] }>();
  for (const [index, { context, continuation }] of requests.entries()) {
    const room = contextLength - (continuation.length - 1);
    const kept = context.length > room ? context.slice(context.length - room) : context;
    const key = share ? kept.join() : index;
    const group = groups.get(key);
    if (group) group.members.push(index);
    else groups.set(key, { context: kept, members: [index] });
  }
  return groups.values();
}

function emptyRow(): PackedRow {
  return { ids: [], positions: [], segmentIds: [], prefixIds: [], reads: [] };
}

function append(
  row: PackedRow,
  ids: readonly number[],
  position: number,
  segment: number,
  prefix: number,
): void {
  for (const [i, id] of ids.entries()) {
    row.ids.push(id);
    row.positions.push(position + i);
    row.segmentIds.push(segment);
    row.prefixIds.push(prefix);
  }
}
