/**
 * Packs score requests into rows without padding. What requests share occurs once per row: their context, or, if that is less
 * to compute, the start that all contexts have in common, such as the same examples before every question.
 */
import type { ScoreRequest } from '@meap/evals';

/** One row `[1, T]` of the model's input, and the positions to score. */
export interface PackedRow {
  readonly ids: number[];
  /** Position of each token in its own sequence. */
  readonly positions: number[];
  readonly segmentIds: number[];
  /** The segment of the context of each token. */
  readonly prefixIds: number[];
  readonly reads: Read[];
}

/** The positions of a request in a row. */
interface Read {
  /** Index of the request. */
  readonly request: number;
  /** Indices of the tokens whose successors are scored. */
  readonly at: number[];
  /** The successors. */
  readonly targets: readonly number[];
}

export interface PackOptions {
  /** Maximum tokens of a request; the oldest tokens of longer ones are dropped. */
  readonly contextLength: number;
  /** Tokens per row; a longer request has its own row, and a long context has room for a quarter more of continuations. */
  readonly rowTokens: number;
  /** Whether equal contexts are read once; must be false with a sliding window, which counts along the row. */
  readonly shareContexts: boolean;
}

/**
 * Packs requests into rows, grouped by context.
 *
 * The last token of a continuation is not read. Continuations must not exceed the context length.
 */
export function* packRequests(
  requests: readonly ScoreRequest[],
  { contextLength, rowTokens, shareContexts }: PackOptions,
): Generator<PackedRow> {
  const groups = [...groupByContext(requests, contextLength, shareContexts)];
  const start = shareContexts && groups.length > 1 ? commonStart(groups) : [];
  const units = groups.flatMap((group) => unitsAfter(start.length, group, requests));
  const numSeparate = groups.reduce(
    (sum, { context, members }) =>
      members.reduce((sum, index) => sum + requests[index].continuation.length - 1, sum + context.length),
    0,
  );
  const numTogether = units.reduce((sum, { tokens }) => sum + tokens.length, start.length);
  if (start.length > 0 && numTogether < numSeparate) yield* packAfterStart(start, units, rowTokens);
  else yield* packContexts(groups, requests, rowTokens);
}

interface Group {
  readonly context: readonly number[];
  /** Indices of the requests. */
  readonly members: readonly number[];
}

/** Rows of contexts, each followed by its continuations. */
function* packContexts(
  groups: readonly Group[],
  requests: readonly ScoreRequest[],
  rowTokens: number,
): Generator<PackedRow> {
  let row = emptyRow();
  let segment = 0;
  let maxTokens = rowTokens;
  for (const { context, members } of groups) {
    let contextStart = -1;
    let contextSegment = 0;
    const unreadOfAll = members.reduce((sum, index) => sum + requests[index].continuation.length - 1, 0);
    // Two rows would read the context twice.
    if (row.ids.length > 0 && row.ids.length + context.length + unreadOfAll > rowTokens) {
      yield row;
      row = emptyRow();
    }
    for (const index of members) {
      const { continuation } = requests[index];
      const unread = continuation.length - 1;
      const needed = unread + (contextStart < 0 ? context.length : 0);
      if (row.ids.length > 0 && row.ids.length + needed > maxTokens) {
        yield row;
        row = emptyRow();
        contextStart = -1;
      }
      if (contextStart < 0) {
        // A long context, such as one of many examples, is not read again for each of its continuations.
        maxTokens = row.ids.length === 0 ? Math.max(rowTokens, context.length + rowTokens / 4) : rowTokens;
        contextStart = row.ids.length;
        contextSegment = segment++;
        append(row, context, 0, contextSegment, contextSegment);
      }
      const start = row.ids.length;
      // The only continuation of a context continues its segment.
      const own = members.length === 1 ? contextSegment : segment++;
      append(row, continuation.slice(0, unread), context.length, own, contextSegment);
      const at = [contextStart + context.length - 1];
      for (let i = 0; i < unread; i++) at.push(start + i);
      row.reads.push({ request: index, at, targets: continuation });
    }
  }
  if (row.reads.length > 0) yield row;
}

/** Tokens after a common start, and the requests that they answer. */
interface Unit {
  readonly tokens: readonly number[];
  /** Indices of the requests. */
  readonly members: readonly number[];
  /** Position in `tokens` of the end of the context. */
  readonly contextEnd: number;
  readonly targets: readonly (readonly number[])[];
}

/** Rows of a common start, followed by all that continues it. */
function* packAfterStart(
  start: readonly number[],
  units: readonly Unit[],
  rowTokens: number,
): Generator<PackedRow> {
  // At most an eighth of a row is read again in the next.
  const maxTokens = Math.max(
    rowTokens,
    Math.min(8 * start.length, 4 * rowTokens),
    start.length + rowTokens / 2,
  );
  let row = emptyRow();
  for (const [index, { tokens, members, contextEnd, targets }] of units.entries()) {
    if (row.reads.length > 0 && row.ids.length + tokens.length > maxTokens) {
      yield row;
      row = emptyRow();
    }
    if (row.ids.length === 0) append(row, start, 0, 0, 0);
    const first = row.ids.length + contextEnd;
    append(row, tokens, start.length, index + 1, 0);
    for (const [i, request] of members.entries()) {
      row.reads.push({ request, at: targets[i].map((_, k) => first + k), targets: targets[i] });
    }
  }
  yield row;
}

/** A context after the start with all of its continuations of one token, or with each that is longer. */
function unitsAfter(length: number, { context, members }: Group, requests: readonly ScoreRequest[]): Unit[] {
  const rest = context.slice(length);
  const contextEnd = rest.length - 1;
  const isShort = members.every((index) => requests[index].continuation.length === 1);
  if (isShort) {
    const targets = members.map((index) => requests[index].continuation);
    return [{ tokens: rest, members, contextEnd, targets }];
  }
  return members.map((index) => {
    const { continuation } = requests[index];
    const tokens = [...rest, ...continuation.slice(0, -1)];
    return { tokens, members: [index], contextEnd, targets: [continuation] };
  });
}

/** The longest start of all contexts; at least the last token of each comes after it. */
function commonStart(groups: readonly Group[]): readonly number[] {
  const [{ context: first }] = groups;
  let length = Math.min(...groups.map(({ context }) => context.length - 1));
  for (const { context } of groups) {
    let same = 0;
    while (same < length && context[same] === first[same]) same++;
    length = same;
  }
  return first.slice(0, length);
}

function groupByContext(
  requests: readonly ScoreRequest[],
  contextLength: number,
  share: boolean,
): Iterable<Group> {
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
