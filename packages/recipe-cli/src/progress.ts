/** Progress of a run: bars in a terminal, otherwise a line every ten seconds. */

import { duration, percent, plainText, short } from '@meap/dashboard';
import type { TrainEvent } from '@meap/trainer';
import cliProgress from 'cli-progress';
import type { OutputStream } from './command.ts';
import { describeProbes } from './probe-values.ts';

/** Where to write progress. */
export interface ProgressOutput {
  /** Writes text without changes. */
  write(text: string): void;
  /** Whether lines can be redrawn. */
  interactive: boolean;
}

/** Seconds between two lines about steps without a terminal. */
const LINE_SECONDS = 10;

/** Shows the progress of a training run. */
export class TrainingProgress {
  /** Steps of the whole run; must be set before the first step. */
  totalSteps = 0;
  /** Returns the text of a validation line after the step. */
  readonly describeValidation: (event: TrainEvent & { type: 'validation' }) => string;
  readonly #output: ProgressOutput;
  readonly #bars: Bars | undefined;
  readonly #clock = new StepClock();
  #lastLine = performance.now();
  #isFirstStep = true;
  #stage = '';

  constructor(
    output: ProgressOutput,
    stream: OutputStream,
    describeValidation: TrainingProgress['describeValidation'],
  ) {
    this.#output = output;
    this.#bars = output.interactive ? new Bars(stream) : undefined;
    this.describeValidation = describeValidation;
  }

  /** Writes a line. */
  line(text: string): void {
    this.#bars?.stop();
    this.#output.write(`${text}\n`);
  }

  /** Updates a bar; without a terminal, its first call writes the line `opening`. */
  stage(what: string, done: number, total: number, text: string, opening: string): void {
    this.#bars?.update(what, done, total, text);
    if (!this.#bars && what !== this.#stage) this.line(opening);
    this.#stage = what;
  }

  /** Shows the progress of work of unknown length: redrawn, or without a terminal a line every ten seconds. */
  count(what: string, text: string): void {
    this.#bars?.update(what.padEnd(11), 0, undefined, text);
    if (!this.#bars && this.#isDue()) this.line(`${what.padEnd(12)} ${text}`);
  }

  /** Shows an event of the trainer. */
  onTrainEvent(event: TrainEvent): void {
    const stepOf = (step: number) => `step ${String(step).padStart(7)} of ${this.totalSteps}`;
    switch (event.type) {
      case 'step':
        this.#onStep(event, stepOf(event.step));
        break;
      case 'validation':
        this.line(`${stepOf(event.step)}   ${this.describeValidation(event)}`);
        break;
      case 'probe':
        this.line(`${stepOf(event.step)}   ${describeProbes(event.probes)}`);
        break;
      case 'stop':
        this.line(`stop         after step ${event.step}: ${event.reason}`);
        break;
      case 'resume':
        this.line(`resume       at step ${event.step}, from ${event.path}`);
        break;
      case 'warning':
        this.line(`warning      ${plainText(event.message)}`);
        break;
    }
  }

  /** Removes an unfinished bar. */
  close(): void {
    this.#bars?.stop();
  }

  #onStep(event: TrainEvent & { type: 'step' }, heading: string): void {
    const seconds = this.#clock.secondsLeft(event.step, this.totalSteps);
    const left = seconds === undefined ? '' : `, ${duration(seconds)} left`;
    const loss = event.loss?.toFixed(3) ?? 'not finite';
    const mfu = event.mfu === null ? '' : `, MFU ${percent(event.mfu)}`;
    const text = `loss ${loss}, ${short(event.tokensPerSecond)} tokens/s${mfu}${left}`;
    if (this.#bars) {
      this.#bars.update('training', event.step, this.totalSteps, text);
      return;
    }
    const isEnd = this.#isFirstStep || event.step === this.totalSteps;
    if (this.#isDue() || isEnd) this.line(`${heading}   ${text}`);
    this.#isFirstStep = false;
  }

  /** Whether the next progress line is due; starts a new interval if so. */
  #isDue(): boolean {
    const now = performance.now();
    if (now - this.#lastLine < LINE_SECONDS * 1000) return false;
    this.#lastLine = now;
    return true;
  }
}

/** One bar at a time; stopped before a line is written and redrawn below it. */
export class Bars {
  readonly #stream: OutputStream;
  #bar: cliProgress.SingleBar | undefined;
  #what = '';

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** Draws the bar; without a total, only the text. */
  update(what: string, done: number, total: number | undefined, text: string): void {
    if (!this.#bar || what !== this.#what) {
      this.stop();
      this.#what = what;
      this.#bar = new cliProgress.SingleBar(
        {
          format: total === undefined ? '{what}  {text}' : '{what} {bar} {percentage} %  {text}',
          stream: this.#stream as NodeJS.WritableStream,
          hideCursor: true,
          clearOnComplete: true,
          barsize: 20,
        },
        cliProgress.Presets.shades_classic,
      );
      this.#bar.start(total ?? 1, done, { what, text });
    }
    this.#bar.update(done, { what, text });
    if (total !== undefined && done >= total) this.stop();
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** Estimates the time left from the pace of this process's steps, with everything between them, such as validation. */
class StepClock {
  #first: { step: number; at: number } | undefined;

  secondsLeft(step: number, total: number): number | undefined {
    const at = performance.now();
    this.#first ??= { step, at };
    const { step: first, at: began } = this.#first;
    return step > first ? (((at - began) / (step - first)) * (total - step)) / 1000 : undefined;
  }
}
