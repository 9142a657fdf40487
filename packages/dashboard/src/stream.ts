/** Server-sent events to one page: what it lacks, when its connection takes it, never a queue of messages. */
import type { ServerResponse } from 'node:http';
import type { Run } from './run.ts';
import type { RunStore } from './run-store.ts';
import type { CurvesMessage } from './shared/protocol.ts';
import { MOST_ROWS, widthFor } from './shared/table.ts';
import { pack } from './shared/wire.ts';

/** A page that says nothing can tell a dead connection by the silence. */
const HEARTBEAT_MS = 15_000;
/** A connection that takes nothing for so long is given up; a page that still lives connects again. */
const STUCK_MS = 60_000;

/** What a page has of a run. */
interface Position {
  generation: string;
  steps: number;
  validations: number;
}

/** One page that listens. */
export class Stream {
  /** Ids of the runs whose curves the page wants. */
  readonly selected: readonly string[];
  readonly #response: ServerResponse;
  /** Of this server: positions in another server's curves mean nothing. */
  readonly #server: string;
  readonly #positions: Map<string, Position>;
  readonly #revisions = new Map<string, number>();
  #blockedSince: number | undefined;
  #lastWrite = performance.now();

  /** @param since what an earlier stream of this page gave as the id of its last event */
  constructor(response: ServerResponse, server: string, selected: readonly string[], since: string) {
    this.#response = response;
    this.#server = server;
    this.selected = selected;
    this.#positions = parsePositions(since);
    response.on('drain', () => {
      this.#blockedSince = undefined;
    });
    // A page that reloads is back at once; one whose server is gone asks in vain for a while.
    response.write('retry: 2000\n\n');
  }

  /** Sends what has come since the last time, as far as the connection takes it. */
  send(store: RunStore): void {
    const now = performance.now();
    if (this.#blockedSince !== undefined) {
      if (now - this.#blockedSince > STUCK_MS) this.#response.destroy();
      return;
    }
    const list = store.message(this.#revisions);
    if (list) this.#write('runs', list);
    for (const id of this.selected) {
      if (this.#blockedSince !== undefined) return;
      const run = store.runs.get(id);
      const message = run && this.#curves(run);
      if (message) this.#write('curves', message);
    }
    if (now - this.#lastWrite > HEARTBEAT_MS) this.#write('beat', {});
  }

  /** Says that the server ends, and why, and ends. */
  end(reason: string): void {
    this.#write('end', { reason });
    this.#response.end();
  }

  #curves(run: Run): CurvesMessage | undefined {
    const { series } = run;
    if (!series) return undefined;
    const generation = `${this.#server}-${series.generation}`;
    const { length } = series;
    const numValidations = series.validations.step.length;
    const known = this.#positions.get(run.id);
    const follows =
      known?.generation === generation && known.steps <= length && length - known.steps <= MOST_ROWS;
    const [steps, validations] = follows ? [known.steps, known.validations] : [0, 0];
    if (follows && steps === length && validations === numValidations) return undefined;
    this.#positions.set(run.id, { generation, steps: length, validations: numValidations });
    return {
      run: run.id,
      generation,
      isWhole: !follows,
      table: pack(series.table(steps, length, follows ? 1 : widthFor(length))),
      validations: series.validationsFrom(validations),
      anomalies: series.anomalies,
      badLines: series.badLines,
    };
  }

  #write(event: string, data: object): void {
    this.#lastWrite = performance.now();
    const text = `event: ${event}\nid: ${this.#id()}\ndata: ${JSON.stringify(data)}\n\n`;
    if (!this.#response.write(text)) this.#blockedSince ??= this.#lastWrite;
  }

  #id(): string {
    const positions = this.selected.flatMap((id) => {
      const position = this.#positions.get(id);
      return position ? [[id, position.generation, position.steps, position.validations].join('~')] : [];
    });
    return positions.join(',');
  }
}

/** Positions from an event id; whatever else it is, is none. */
function parsePositions(since: string): Map<string, Position> {
  const positions = new Map<string, Position>();
  for (const part of since.split(',')) {
    const [, id, generation, steps, validations] = /^(\w+)~([\w-]+)~(\d{1,15})~(\d{1,15})$/.exec(part) ?? [];
    if (id) positions.set(id, { generation, steps: Number(steps), validations: Number(validations) });
  }
  return positions;
}
