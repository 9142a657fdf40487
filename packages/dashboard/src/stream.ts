/** Server-sent events to one page: only changes, and only when the connection accepts data, so nothing is queued. */
import type { ServerResponse } from 'node:http';
import type { Run } from './run.ts';
import type { RunStore } from './run-store.ts';
import type { CurvesMessage } from './shared/protocol.ts';
import { MAX_ROWS, widthFor } from './shared/table.ts';
import { pack } from './shared/wire.ts';

/** Interval at which a page is sent an event, so that it can detect a lost connection. */
const HEARTBEAT_MS = 15_000;
/** A connection that accepts no data for this long is closed. */
const STUCK_MS = 60_000;

/** The part of a run's curves that a page has. */
interface Position {
  generation: string;
  steps: number;
  validations: number;
  probes: number;
}

export class Stream {
  /** Ids of the runs whose curves are sent. */
  readonly selected: readonly string[];
  readonly #response: ServerResponse;
  /** Identifies this server; positions of other servers are invalid. */
  readonly #server: string;
  readonly #positions: Map<string, Position>;
  readonly #revisions = new Map<string, number>();
  #blockedSince: number | undefined;
  #lastWrite = performance.now();

  /** @param since the id of the last event of the page's previous stream */
  constructor(response: ServerResponse, server: string, selected: readonly string[], since: string) {
    this.#response = response;
    this.#server = server;
    this.selected = selected;
    this.#positions = parsePositions(since);
    response.on('drain', () => {
      this.#blockedSince = undefined;
    });
    response.write('retry: 2000\n\n');
  }

  /** Sends the changes since the last call, while the connection accepts data. */
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

  /** Sends the reason why the server stops, and ends the stream. */
  end(reason: string): void {
    this.#write('end', { reason });
    this.#response.end();
  }

  #curves(run: Run): CurvesMessage | undefined {
    const { series } = run;
    if (!series) return undefined;
    const generation = `${this.#server}-${series.generation}`;
    const { length } = series;
    const ends = { validations: series.validations.step.length, probes: series.probes.step.length };
    const known = this.#positions.get(run.id);
    const follows =
      known?.generation === generation && known.steps <= length && length - known.steps <= MAX_ROWS;
    const { steps, validations, probes } = follows ? known : { steps: 0, validations: 0, probes: 0 };
    const hasAll = validations === ends.validations && probes === ends.probes;
    if (follows && steps === length && hasAll) return undefined;
    this.#positions.set(run.id, { generation, steps: length, ...ends });
    return {
      run: run.id,
      generation,
      isWhole: !follows,
      table: pack(series.table(steps, length, follows ? 1 : widthFor(length))),
      validations: series.validationsFrom(validations),
      probes: series.probesFrom(probes),
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
      if (!position) return [];
      const { generation, steps, validations, probes } = position;
      return [[id, generation, steps, validations, probes].join('~')];
    });
    return positions.join(',');
  }
}

/** Parses the positions in an event id; ignores invalid parts. */
function parsePositions(since: string): Map<string, Position> {
  const positions = new Map<string, Position>();
  for (const part of since.split(',')) {
    const [, id, generation, ...counts] =
      /^(\w+)~([\w-]+)~(\d{1,15})~(\d{1,15})~(\d{1,15})$/.exec(part) ?? [];
    const [steps, validations, probes] = counts.map(Number);
    if (id) positions.set(id, { generation, steps, validations, probes });
  }
  return positions;
}
