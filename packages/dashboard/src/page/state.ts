/** The state of the page; the user's choices are stored in the URL. */
import type { Anomaly, Probes, RunSummary, RunsMessage, Validations } from '../shared/protocol.ts';
import { MAX_SELECTED } from '../shared/protocol.ts';
import type { Table } from '../shared/table.ts';

/** The quantity of the horizontal axis. */
export type Axis = 'step' | 'tokens' | 'seconds';

/** A run, and when its summary was received by the page's clock in milliseconds. */
export interface KnownRun extends RunSummary {
  receivedAt: number;
}

/** Curves of a displayed run. */
export interface Curves {
  generation: string;
  table: Table;
  validations: Validations;
  probes: Probes;
  anomalies: { count: number; last: Anomaly[] };
  badLines: number;
  /** Finer rows of the zoomed part. */
  detail?: Table;
}

/** The visible part: a fraction at the end of the curves, or a fixed range. */
export type Zoom = { share: number } | { from: number; to: number };

export const state = {
  runs: new Map<string, KnownRun>(),
  curves: new Map<string, Curves>(),
  list: undefined as RunsMessage | undefined,
  connection: 'connecting' as 'connecting' | 'live' | 'lost' | 'ended',
  endReason: '',
  /** Ids of displayed runs in the order of selection; undefined until the user or the server has chosen. */
  selected: undefined as string[] | undefined,
  /** The run of header, masks and samples. */
  focus: undefined as string | undefined,
  axis: 'step' as Axis,
  /** Approximate number of smoothed steps; 1 for no smoothing. */
  smoothing: 20,
  zoom: { share: 1 } as Zoom,
};

export function focusedRun(): KnownRun | undefined {
  return state.focus === undefined ? undefined : state.runs.get(state.focus);
}

/** Whether any displayed run has steps. */
export function hasSteps(): boolean {
  return (state.selected ?? []).some((id) => (state.curves.get(id)?.table.first.length ?? 0) > 0);
}

/** The run of each colour; it keeps its colour while it is selected. */
const slots: (string | undefined)[] = [];

/** Returns the index of a run's colour. */
export function slotOf(id: string): number {
  const found = slots.indexOf(id);
  if (found >= 0) return found;
  for (let slot = 0; slot <= slots.length; slot++) {
    const holder = slots[slot];
    if (holder !== undefined && state.selected?.includes(holder)) continue;
    slots[slot] = id;
    return slot;
  }
  return 0;
}

/** Shows or hides a run; if the focused run is hidden, the last one shown gets the focus. */
export function toggle(id: string, isShown: boolean): void {
  const others = (state.selected ?? []).filter((other) => other !== id);
  state.selected = isShown ? [...others, id].slice(-MAX_SELECTED) : others;
  if (isShown) slotOf(id);
  else state.curves.delete(id);
  if (!state.focus || !state.selected.includes(state.focus)) state.focus = state.selected.at(-1);
  remember();
}

/** Stores the choices in the URL, so that reloads and bookmarks keep them. */
export function remember(): void {
  const { selected = [], focus, axis, smoothing } = state;
  const parameters = new URLSearchParams({ axis, smoothing: String(smoothing) });
  for (const id of selected) parameters.append('run', id);
  if (focus) parameters.set('focus', focus);
  history.replaceState(null, '', `#${parameters}`);
}

/** Restores the choices from the URL; ignores invalid parts. */
export function recall(): void {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const axis = parameters.get('axis');
  if (axis === 'step' || axis === 'tokens' || axis === 'seconds') state.axis = axis;
  const smoothing = Number(parameters.get('smoothing') ?? Number.NaN);
  if (smoothing >= 1 && smoothing <= 1000) state.smoothing = smoothing;
  const runs = [...new Set(parameters.getAll('run'))].filter((id) => /^\w{1,40}$/.test(id));
  if (runs.length === 0) return;
  state.selected = runs.slice(0, MAX_SELECTED);
  const focus = parameters.get('focus');
  state.focus = focus && runs.includes(focus) ? focus : runs[0];
  for (const id of state.selected) slotOf(id);
}
