/** What people see while a run goes on: bars where there is a terminal, lines now and then where there is none. */
import type { TrainEvent } from '@meap/trainer';
import cliProgress from 'cli-progress';
import { duration, percent, plainText, short } from './format.ts';

/** Where to write, and whether a person is watching. */
export interface ProgressOutput {
  /** Writes as it is, line ends included. */
  write(text: string): void;
  /** Whether lines can be redrawn. */
  interactive: boolean;
}

/** Seconds between two lines about steps where nothing can be redrawn. */
const LINE_SECONDS = 10;

/** Bars and lines about a training run. */
export class TrainingProgress {
  /** Steps of the whole run; set it before the first step. */
  totalSteps = 0;
  /** Text of a validation line behind the step. */
  readonly describeValidation: (event: TrainEvent & { type: 'validation' }) => string;
  readonly #output: ProgressOutput;
  readonly #bars: Bars | undefined;
  readonly #clock = new StepClock();
  #lastLine = Number.NEGATIVE_INFINITY;
  #stage = '';

  constructor(
    output: ProgressOutput,
    stream: NodeJS.WriteStream,
    describeValidation: TrainingProgress['describeValidation'],
  ) {
    this.#output = output;
    this.#bars = output.interactive ? new Bars(stream) : undefined;
    this.describeValidation = describeValidation;
  }

  /** Writes a line among the others. */
  line(text: string): void {
    this.#bars?.stop();
    this.#output.write(`${text}\n`);
  }

  /** Moves a bar; where nothing can be redrawn, its beginning is a line of its own: `opening`. */
  stage(what: string, done: number, total: number, text: string, opening: string): void {
    this.#bars?.update(what, done, total, text);
    if (!this.#bars && what !== this.#stage) this.line(opening);
    this.#stage = what;
  }

  /** Follows the trainer's events. */
  onTrainEvent(event: TrainEvent): void {
    const stepOf = (step: number) => `step ${String(step).padStart(7)} of ${this.totalSteps}`;
    switch (event.type) {
      case 'step':
        this.#onStep(event, stepOf(event.step));
        break;
      case 'validation':
        this.line(`${stepOf(event.step)}   ${this.describeValidation(event)}`);
        break;
      case 'resume':
        this.line(`resume       at step ${event.step}, from ${event.path}`);
        break;
      case 'warning':
        this.line(`warning      ${plainText(event.message)}`);
        break;
    }
  }

  /** Ends an unfinished bar. */
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
    const isDue = performance.now() - this.#lastLine >= LINE_SECONDS * 1000;
    if (!isDue && event.step !== this.totalSteps) return;
    this.#lastLine = performance.now();
    this.line(`${heading}   ${text}`);
  }
}

/** One bar at a time, stopped whenever a line has to be written and drawn again below it. */
class Bars {
  readonly #stream: NodeJS.WriteStream;
  #bar: cliProgress.SingleBar | undefined;
  #what = '';

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  update(what: string, done: number, total: number, text: string): void {
    if (!this.#bar || what !== this.#what) {
      this.stop();
      this.#what = what;
      this.#bar = new cliProgress.SingleBar(
        {
          format: '{what} {bar} {percentage} %  {text}',
          stream: this.#stream,
          hideCursor: true,
          clearOnComplete: true,
          barsize: 20,
        },
        cliProgress.Presets.shades_classic,
      );
      this.#bar.start(total, done, { what, text });
    }
    this.#bar.update(done, { what, text });
    if (done >= total) this.stop();
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** Time left from the pace of this process's steps; what happens between them, such as validation, counts. */
class StepClock {
  #first: { step: number; at: number } | undefined;

  secondsLeft(step: number, total: number): number | undefined {
    const at = performance.now();
    this.#first ??= { step, at };
    const { step: first, at: began } = this.#first;
    return step > first ? (((at - began) / (step - first)) * (total - step)) / 1000 : undefined;
  }
}
