/** What the page knows and what its reader has chosen; the choice is kept in the address. */
import type { Anomaly, RunSummary, RunsMessage, Validations } from '../shared/protocol.ts';
import { MOST_SELECTED } from '../shared/protocol.ts';
import type { Table } from '../shared/table.ts';

/** What steps are laid out by. */
export type Axis = 'step' | 'tokens' | 'seconds';

/** A run and when the page heard of it, by its own clock in milliseconds. */
export interface KnownRun extends RunSummary {
  heardAt: number;
}

/** Curves of a run that is shown. */
export interface Curves {
  generation: string;
  table: Table;
  validations: Validations;
  anomalies: { count: number; last: Anomaly[] };
  badLines: number;
  /** Finer rows of the part that is zoomed into. */
  detail?: Table;
}

/** What part of the curves is drawn: all, the last part of what there is, or from one place to another. */
export type Zoom = { share: number } | { from: number; to: number };

/** The state of the page. */
export const state = {
  runs: new Map<string, KnownRun>(),
  curves: new Map<string, Curves>(),
  list: undefined as RunsMessage | undefined,
  connection: 'connecting' as 'connecting' | 'live' | 'lost' | 'ended',
  endReason: '',
  /** Ids, in the order of their colours; undefined until the reader or the server has chosen. */
  selected: undefined as string[] | undefined,
  /** The run that header, masks and samples are about. */
  focus: undefined as string | undefined,
  axis: 'step' as Axis,
  /** Steps that smoothing averages over, about; 1 is none. */
  smoothing: 20,
  zoom: { share: 1 } as Zoom,
};

/** Places of colours; a run keeps its own while it is selected. */
const slots: (string | undefined)[] = [];

/** Number of a selected run's colour and dash. */
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

/** Shows a run or hides it; the last one shown that is not the focus is what header and samples turn to. */
export function toggle(id: string, isShown: boolean): void {
  const others = (state.selected ?? []).filter((other) => other !== id);
  state.selected = isShown ? [...others, id].slice(-MOST_SELECTED) : others;
  if (isShown) slotOf(id);
  else state.curves.delete(id);
  if (!state.focus || !state.selected.includes(state.focus)) state.focus = state.selected.at(-1);
  remember();
}

/** Writes the choice into the address, so that a reload, a bookmark or a message to a colleague keeps it. */
export function remember(): void {
  const { selected = [], focus, axis, smoothing } = state;
  const parameters = new URLSearchParams({ axis, smoothing: String(smoothing) });
  for (const id of selected) parameters.append('run', id);
  if (focus) parameters.set('focus', focus);
  history.replaceState(null, '', `#${parameters}`);
}

/** Takes the choice from the address; whatever else stands there is passed over. */
export function recall(): void {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const axis = parameters.get('axis');
  if (axis === 'step' || axis === 'tokens' || axis === 'seconds') state.axis = axis;
  const smoothing = Number(parameters.get('smoothing') ?? Number.NaN);
  if (smoothing >= 1 && smoothing <= 1000) state.smoothing = smoothing;
  const runs = [...new Set(parameters.getAll('run'))].filter((id) => /^\w{1,40}$/.test(id));
  if (runs.length === 0) return;
  state.selected = runs.slice(0, MOST_SELECTED);
  const focus = parameters.get('focus');
  state.focus = focus && runs.includes(focus) ? focus : runs[0];
  for (const id of state.selected) slotOf(id);
}
