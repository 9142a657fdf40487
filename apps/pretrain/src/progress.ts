/** What people see while a run goes on: bars where there is a terminal, lines now and then where there is none. */
import cliProgress from 'cli-progress';
import { bytes, duration, flop, percent, plainText, short } from './format.ts';
import type { PretrainEvent } from './run.ts';

/** Where to write, and whether a person is watching. */
export interface ProgressOutput {
  write(text: string): void;
  /** Whether lines can be redrawn. */
  interactive: boolean;
}

/** Seconds between two lines about steps where nothing can be redrawn. */
const LINE_SECONDS = 10;

/** Follows the events of `pretrain`; `close` ends an unfinished bar. */
export interface Progress {
  onEvent(event: PretrainEvent): void;
  /** Writes a line among the others. */
  note(text: string): void;
  close(): void;
}

/** A progress display on `output`. */
export function createProgress(output: ProgressOutput, stream: NodeJS.WriteStream): Progress {
  const bars = output.interactive ? new Bars(stream) : undefined;
  const line = (text: string) => {
    bars?.stop();
    output.write(`${text}\n`);
  };
  const steps = new StepClock();
  let stage = '';
  let lastLine = Number.NEGATIVE_INFINITY;

  const onData = (event: PretrainEvent & { type: 'data' }) => {
    if (event.stage === 'tokenizer') return line(`tokenizer    training a BPE of ${event.vocabSize} tokens`);
    const what = `${event.stage} text, ${event.phase === 'hash' ? 'checking' : 'tokenising'}`;
    const done = `${bytes(event.bytesDone)} of ${bytes(event.bytesTotal)}`;
    bars?.update(what, event.bytesDone, event.bytesTotal, `${done}, ${short(event.tokens)} tokens`);
    if (!bars && what !== stage) line(`data         ${what}, ${bytes(event.bytesTotal)}`);
    stage = what;
  };

  const onStep = (event: PretrainEvent & { type: 'step' }) => {
    const seconds = steps.secondsLeft(event.step);
    const left = seconds === undefined ? '' : `, ${duration(seconds)} left`;
    const loss = event.loss?.toFixed(3) ?? 'not finite';
    const mfu = event.mfu === null ? '' : `, MFU ${percent(event.mfu)}`;
    const text = `loss ${loss}, ${short(event.tokensPerSecond)} tokens/s${mfu}${left}`;
    if (bars) return bars.update('training', event.step, steps.total, text);
    const isDue = performance.now() - lastLine >= LINE_SECONDS * 1000;
    if (!isDue && event.step !== steps.total) return;
    lastLine = performance.now();
    line(`step ${String(event.step).padStart(7)} of ${steps.total}   ${text}`);
  };

  return {
    onEvent(event) {
      switch (event.type) {
        case 'backend':
          line(`backend      ${event.name} (${event.device}): ${event.reason}${peakOf(event.peakGflops)}`);
          break;
        case 'data':
          onData(event);
          break;
        case 'ready':
          steps.total = event.steps;
          line(
            `data         ${short(event.trainTokens)} tokens to train on, ${short(event.validationTokens)} to validate on`,
          );
          line(
            `model        ${short(event.parameters)} parameters, ${event.steps} steps of ${short(event.tokensPerStep)} tokens`,
          );
          break;
        case 'step':
          onStep(event);
          break;
        case 'validation':
          line(
            `step ${String(event.step).padStart(7)} of ${steps.total}   validation ${event.bitsPerByte.toFixed(3)} bits per byte, loss ${event.valLoss.toFixed(3)}`,
          );
          break;
        case 'resume':
          line(`resume       at step ${event.step}, from ${event.path}`);
          break;
        case 'warning':
          line(`warning      ${plainText(event.message)}`);
          break;
      }
    },
    note: line,
    close: () => bars?.stop(),
  };
}

function peakOf(gflops: number | null): string {
  return gflops === null ? '' : `; peak ${flop(gflops * 1e9)}/s`;
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
  total = 0;
  #first: { step: number; at: number } | undefined;

  secondsLeft(step: number): number | undefined {
    const at = performance.now();
    this.#first ??= { step, at };
    const { step: first, at: began } = this.#first;
    return step > first ? (((at - began) / (step - first)) * (this.total - step)) / 1000 : undefined;
  }
}
