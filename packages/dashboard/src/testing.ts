/** Test runs, and a client for their streams. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';

/** A line of `metrics.jsonl` for a step. */
export function stepLine(step: number, more: object = {}): string {
  const loss = 2 + 5 / (1 + step / 100);
  const figures = {
    lr: 1e-3,
    gradNorm: 1,
    tokensPerSecond: 1000,
    mfu: 0.4,
    residentBytes: 5e8,
    backendBytes: 3e8,
  };
  return `${JSON.stringify({ step, tokens: step * 100, loss, ...figures, ...more })}\n`;
}

export function makeRun(
  folder: string,
  name: string,
  steps: number,
  config = 'train:\n  max_steps: 1000\n',
): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'config.yaml'), config);
  let lines = '';
  for (let step = 1; step <= steps; step++) lines += stepLine(step);
  appendFileSync(join(path, 'metrics.jsonl'), lines);
  return path;
}

/** Writes the folder of a study with two arms and two seeds, of which one run has finished. */
export function makeStudy(folder: string, name: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, 'results'), { recursive: true });
  writeFileSync(join(path, 'plan.yaml'), 'title: Few data\nkind: exploratory\n');
  const seeds = '\n      - 0\n      - 1\n';
  writeFileSync(
    join(path, 'runs.yaml'),
    `seeds:\n  - finished: 0\n    added:\n      ntp:${seeds}      meap:${seeds}`,
  );
  writeFileSync(join(path, 'results/ntp-seed-0.json'), '{}');
  return path;
}

export function ask(
  url: string,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    // fetch normalizes paths and does not allow a host header.
    const sent = request({ hostname, port, path, method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
    });
    sent.on('error', reject).end();
  });
}

export interface StreamEvent {
  event: string;
  id: string;
  // biome-ignore lint/suspicious/noExplicitAny: any JSON
  data: any;
}

/** Receives the events of a stream until closed. */
export class Listener {
  readonly events: StreamEvent[] = [];
  isEnded = false;
  readonly #connection;
  #rest = '';

  constructor(url: string, runs: readonly string[], headers: Record<string, string> = {}) {
    const { hostname, port } = new URL(url);
    const path = `/api/stream?${runs.map((run) => `run=${run}`).join('&')}`;
    this.#connection = request({ hostname, port, path, headers, agent: false }, (response) => {
      response.setEncoding('utf8').on('data', (text: string) => this.#read(text));
      response.on('end', () => {
        this.isEnded = true;
      });
      response.on('error', () => {});
    });
    this.#connection.on('error', () => {}).end();
  }

  async next(test: (event: StreamEvent) => boolean): Promise<StreamEvent> {
    for (let tries = 0; tries < 400; tries++) {
      const at = this.events.findIndex(test);
      if (at >= 0) return this.events.splice(0, at + 1).at(-1)!;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`event not received; received: ${JSON.stringify(this.events).slice(0, 2000)}`);
  }

  close(): void {
    this.#connection.destroy();
  }

  #read(text: string): void {
    const events = `${this.#rest}${text}`.split('\n\n');
    this.#rest = events.pop()!;
    for (const event of events) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(event)?.[1] ?? '';
      if (event.includes('data: ')) {
        this.events.push({ event: field('event'), id: field('id'), data: JSON.parse(field('data')) });
      }
    }
  }
}
