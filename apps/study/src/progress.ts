/** The matrix of arms × seeds: redrawn in a terminal, otherwise lines. */
import { duration, isInteractive, type OutputStream, plainText } from '@meap/recipe-cli';
import { type RunId, runName } from './plan.ts';
import type { RunState } from './run-matrix.ts';

const REDRAW_MS = 500;
const LINE_MS = 30_000;
const CELL = 8;

/** Shows the states of runs. */
export class MatrixProgress {
  readonly #runs: readonly RunId[];
  readonly #stream: OutputStream;
  readonly #isTerminal: boolean;
  readonly #states = new Map<string, RunState>();
  readonly #clock = new Clock();
  readonly #timer: NodeJS.Timeout;
  #drawnLines = 0;

  constructor(runs: readonly RunId[], stream: OutputStream) {
    this.#runs = runs;
    this.#stream = stream;
    this.#isTerminal = isInteractive(stream);
    this.#timer = setInterval(() => this.#tick(), this.#isTerminal ? REDRAW_MS : LINE_MS);
    this.#timer.unref();
  }

  onState(run: RunId, state: RunState): void {
    const name = runName(run);
    const before = this.#states.get(name);
    this.#states.set(name, state);
    if (state.status === 'running' && before?.status === 'running') {
      this.#clock.add(state.share - before.share);
      return;
    }
    // Runs that were finished before say nothing about the pace.
    if (state.status === 'done' && before?.status === 'running') this.#clock.add(1 - before.share);
    if (state.status === 'failed') {
      this.line(`${name}: ${state.step} failed:\n${state.message.replace(/^/gm, '  ')}`);
    } else if (!this.#isTerminal && before && state.status === 'done')
      this.line(`${name}: done, ${this.#summary()}`);
    else if (!this.#isTerminal && state.status === 'running') this.line(`${name}: ${state.step}`);
    if (this.#isTerminal) this.#draw();
  }

  /** Writes a line above the matrix. */
  line(text: string): void {
    this.#erase();
    this.#stream.write(`${plainText(text)}\n`);
    if (this.#isTerminal) this.#draw();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#isTerminal) this.#draw();
    else this.line(this.#summary());
  }

  #draw(): void {
    const lines = renderMatrix(
      this.#runs,
      (run) => this.#states.get(runName(run)),
      this.#stream.columns ?? 80,
    );
    lines.push(this.#summary());
    this.#erase();
    this.#stream.write(`${lines.join('\n')}\n`);
    this.#drawnLines = lines.length;
  }

  #erase(): void {
    if (this.#drawnLines > 0) this.#stream.write(`\x1b[${this.#drawnLines}F\x1b[J`);
    this.#drawnLines = 0;
  }

  #summary(): string {
    const states = this.#runs.map((run) => this.#states.get(runName(run)));
    const count = (status: RunState['status']) => states.filter((state) => state?.status === status).length;
    const left = this.#runs.length - count('done') - count('failed') - shares(states);
    const seconds = this.#clock.secondsFor(left);
    const parts = [
      `${count('done')} of ${this.#runs.length} runs done`,
      ...(count('failed') > 0 ? [`${count('failed')} failed`] : []),
      ...(seconds !== undefined && left > 0 ? [`about ${duration(seconds)} left`] : []),
    ];
    return parts.join(', ');
  }
}

function shares(states: readonly (RunState | undefined)[]): number {
  return states.reduce((sum, state) => sum + (state?.status === 'running' ? state.share : 0), 0);
}

/** Draws arms as rows and seeds as columns; as many seeds as fit. */
export function renderMatrix(
  runs: readonly RunId[],
  stateOf: (run: RunId) => RunState | undefined,
  width: number,
): string[] {
  const arms = [...new Set(runs.map(({ arm }) => arm))];
  const seeds = [...new Set(runs.map(({ seed }) => seed))];
  const nameWidth = Math.max(4, ...arms.map((arm) => arm.length)) + 2;
  const shown = seeds.slice(0, Math.max(1, Math.floor((width - nameWidth - 4) / CELL)));
  const more = shown.length < seeds.length ? ' …' : '';
  const row = (arm: string) =>
    shown.map((seed) => {
      const run = runs.find((run) => run.arm === arm && run.seed === seed);
      return (run ? cell(stateOf(run)) : '').padStart(CELL);
    });
  return [
    `${'seed'.padEnd(nameWidth)}${shown.map((seed) => String(seed).padStart(CELL)).join('')}${more}`,
    ...arms.map((arm) => `${arm.padEnd(nameWidth)}${row(arm).join('')}${more}`),
  ];
}

function cell(state: RunState | undefined): string {
  if (state?.status === 'running') return `${Math.floor(100 * state.share)} %`;
  return state?.status ?? 'waiting';
}

/** Estimates time from the pace of this process. */
class Clock {
  readonly #began = performance.now();
  #done = 0;

  /** Adds a part of a run. */
  add(share: number): void {
    this.#done += share;
  }

  secondsFor(runs: number): number | undefined {
    const elapsed = (performance.now() - this.#began) / 1000;
    return this.#done > 0.02 ? (runs / this.#done) * elapsed : undefined;
  }
}
