/** The event stream: resumed after a lost connection, closed while the page is hidden. */
import type { CurvesMessage, Probes, RunsMessage } from '../shared/protocol.ts';
import { appendRows, coalesce, MAX_ROWS, widthFor } from '../shared/table.ts';
import { unpack } from '../shared/wire.ts';
import { slotOf, state, toggle } from './state.ts';

/** Silence after which the connection is lost; the server sends an event every 15 seconds. */
const SILENCE_MS = 40_000;
/** Time after which a hidden page closes its stream; browsers allow six connections to a server from all tabs. */
const HIDDEN_MS = 30_000;
/** Shortest and longest delay before reconnecting. */
const RETRY_MS = [1000, 15_000] as const;

let source: EventSource | undefined;
let openedFor = '';
let lastId = '';
let receivedAt = performance.now();
let hiddenSince: number | undefined;
let retry: ReturnType<typeof setTimeout> | undefined;
let retryMs: number = RETRY_MS[0];
let onChange = () => {};

/** Opens the stream; calls `onStateChange` when the state has changed. */
export function connect(onStateChange: () => void): void {
  onChange = onStateChange;
  open();
  setInterval(() => {
    if (document.hidden) hiddenSince ??= performance.now();
    else hiddenSince = undefined;
    const isIdle = hiddenSince !== undefined && performance.now() - hiddenSince > HIDDEN_MS;
    if (isIdle) close();
    else if (source && performance.now() - receivedAt > SILENCE_MS) lost();
  }, 5000);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && !source) open();
  });
}

/** Reopens the stream if the selected runs have changed. */
export function followSelected(): void {
  if (key() !== openedFor) open();
}

function key(): string {
  return (state.selected ?? []).join();
}

function close(): void {
  source?.close();
  source = undefined;
  clearTimeout(retry);
}

function open(): void {
  close();
  openedFor = key();
  receivedAt = performance.now();
  const search = new URLSearchParams();
  for (const id of state.selected ?? []) search.append('run', id);
  // Only positions in curves that are still in memory.
  const since = lastId.split(',').filter((position) => state.curves.has(position.split('~')[0]));
  if (since.length > 0) search.set('since', since.join());
  const opened = new EventSource(`/api/stream?${search}`);
  source = opened;
  const on = (name: string, take: (data: never) => void) =>
    opened.addEventListener(name, (event) => {
      if (opened !== source) return;
      receivedAt = performance.now();
      lastId = (event as MessageEvent).lastEventId;
      state.connection = 'live';
      retryMs = RETRY_MS[0];
      take(JSON.parse((event as MessageEvent).data) as never);
      onChange();
    });
  on('runs', takeRuns);
  on('curves', takeCurves);
  on('beat', () => {});
  on('end', ({ reason }: { reason: string }) => {
    state.connection = 'ended';
    state.endReason = reason;
    scheduleRetry();
  });
  opened.onerror = () => {
    if (opened !== source) return;
    lost();
  };
}

/** The server may come back with a resumed run or a new dashboard. */
function lost(): void {
  if (state.connection !== 'ended') state.connection = 'lost';
  scheduleRetry();
  onChange();
}

function scheduleRetry(): void {
  close();
  retry = setTimeout(() => {
    if (!document.hidden) open();
  }, retryMs);
  retryMs = Math.min(RETRY_MS[1], retryMs * 1.5);
}

function takeRuns(message: RunsMessage): void {
  const before = state.list?.primary;
  state.list = message;
  const now = performance.now();
  for (const run of message.changed) state.runs.set(run.id, { ...run, receivedAt: now });
  for (const id of message.gone) state.runs.delete(id);
  // The next run may use the same port; a page left open switches to it.
  if (before !== undefined && message.primary !== null && message.primary !== before) {
    toggle(message.primary, true);
    state.focus = message.primary;
  }
  // Curves of removed runs stay until the user deselects them, but unknown runs of an old bookmark do not.
  const areAllUnknown =
    state.selected?.every((id) => !state.runs.has(id) && !state.curves.has(id)) && state.runs.size > 0;
  const usesDefault = state.selected === undefined || (state.selected.length > 0 && areAllUnknown);
  if (usesDefault && message.suggested.length > 0) {
    state.selected = [...message.suggested];
    state.focus = state.selected[0];
    for (const id of state.selected) slotOf(id);
  }
}

function takeCurves(message: CurvesMessage): void {
  const { run, generation, isWhole, validations, probes, anomalies, badLines } = message;
  const table = unpack(message.table);
  const known = state.curves.get(run);
  if (isWhole || !known || known.generation !== generation) {
    state.curves.set(run, { generation, table, validations, probes, anomalies, badLines });
    return;
  }
  appendRows(known.table, table);
  const { first, count } = known.table;
  // Merged when there are twice as many rows as allowed, not at every step.
  if (first.length > 2 * MAX_ROWS) {
    known.table = coalesce(known.table, widthFor(first.at(-1)! + count.at(-1)!));
  }
  for (const key of Object.keys(validations) as (keyof typeof validations)[]) {
    (known.validations[key] as (number | null)[]).push(...validations[key]);
  }
  appendProbes(known.probes, probes);
  Object.assign(known, { anomalies, badLines });
}

/** The message has all values, those that are new since the last one too. */
function appendProbes(known: Probes, { values, ...positions }: Probes): void {
  for (const [name, column] of Object.entries(values)) {
    known.values[name] ??= Array(known.step.length).fill(null);
    known.values[name].push(...column);
  }
  for (const key of ['step', 'tokens', 'seconds'] as const) known[key].push(...positions[key]);
}
