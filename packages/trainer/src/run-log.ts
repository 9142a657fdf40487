import { closeSync, openSync, readdirSync, readFileSync, truncateSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { AppendLog, repairJsonLines } from './append-log.ts';
import type { RunLock } from './lock.ts';
import { restartEvent, scalarsEvent, versionEvent, wholeRecords } from './tensorboard.ts';
import type { Json, ProbeMetrics, StepMetrics, ValidationMetrics } from './types.ts';

/** The logs of a run: `metrics.jsonl`, `samples.jsonl` and a TensorBoard event file. */
export class RunLog {
  readonly #metrics: AppendLog;
  readonly #samples: AppendLog;
  readonly #events: AppendLog;
  readonly #lock: RunLock;

  /**
   * Opens the logs of a run; removes lines of later steps and repairs damage.
   *
   * @param resumedAt undefined for a new run: nothing is kept of an earlier one that left no checkpoint
   * @param lock checked before every write
   */
  constructor(
    directory: string,
    resumedAt: number | undefined,
    lock: RunLock,
    onWarning: (message: string) => void,
  ) {
    this.#lock = lock;
    const open = (name: string) => {
      const path = join(directory, name);
      closeSync(openSync(path, 'a'));
      return new AppendLog(path, onWarning);
    };
    const openLines = (name: string) => {
      closeSync(openSync(join(directory, name), 'a'));
      const damage = repairJsonLines(join(directory, name), resumedAt ?? -1);
      if (damage) onWarning(`${join(directory, name)}: ${damage}`);
      return open(name);
    };
    this.#metrics = openLines('metrics.jsonl');
    this.#samples = openLines('samples.jsonl');
    const seconds = Date.now() / 1000;
    repairEvents(directory, onWarning);
    // TensorBoard reads files in the order of their names, which must increase even if the clock was set back.
    const stamp = Math.max(Math.floor(seconds), latestStamp(directory) + 1)
      .toString()
      .padStart(10, '0');
    this.#events = open(`events.out.tfevents.${stamp}.${hostname()}.${process.pid}.s${resumedAt ?? 0}`);
    this.#events.append(versionEvent(seconds));
    if (resumedAt) this.#events.append(restartEvent(seconds, resumedAt + 1));
  }

  step(metrics: StepMetrics): void {
    this.#lock.requireHeld();
    this.#metrics.append(`${JSON.stringify(metrics)}\n`);
    const { step, loss, zLoss, lr, gradNorm, tokensPerSecond, mfu, residentBytes, backendBytes } = metrics;
    const penalty: Record<string, number | null> = zLoss === undefined ? {} : { 'train/z_loss': zLoss };
    const scalars = { 'train/loss': loss, ...penalty, 'train/lr': lr, 'train/grad_norm': gradNorm };
    const speed = { 'speed/tokens_per_second': tokensPerSecond, 'speed/mfu': mfu };
    const memory = { 'memory/resident_bytes': residentBytes, 'memory/backend_bytes': backendBytes };
    this.#events.append(scalarsEvent(Date.now() / 1000, step, { ...scalars, ...speed, ...memory }));
  }

  validation(metrics: ValidationMetrics): void {
    this.#lock.requireHeld();
    this.#metrics.append(`${JSON.stringify(metrics)}\n`);
    const { step, valLoss, bitsPerByte = null, parts = {} } = metrics;
    const named = Object.entries(parts).map(([name, loss]) => [`validation/loss_${name}`, loss]);
    const scalars = { 'validation/loss': valLoss, 'validation/bits_per_byte': bitsPerByte };
    this.#events.append(scalarsEvent(Date.now() / 1000, step, { ...scalars, ...Object.fromEntries(named) }));
  }

  probes(metrics: ProbeMetrics): void {
    this.#lock.requireHeld();
    this.#metrics.append(`${JSON.stringify(metrics)}\n`);
    const scalars = Object.entries(metrics.probes).map(([name, value]) => [`probes/${name}`, value]);
    this.#events.append(scalarsEvent(Date.now() / 1000, metrics.step, Object.fromEntries(scalars)));
  }

  sample(step: number, sample: { [key: string]: Json }): void {
    this.#lock.requireHeld();
    this.#samples.append(`${JSON.stringify({ step, ...sample })}\n`);
  }

  /** Writes all pending lines and returns the paths. @throws CheckpointError if the disk is full */
  flush(): string[] {
    this.#lock.requireHeld();
    const logs = [this.#metrics, this.#samples, this.#events];
    for (const log of logs) log.flush();
    return logs.map(({ path }) => path);
  }

  close(): void {
    for (const log of [this.#metrics, this.#samples, this.#events]) log.close();
  }
}

/** Removes a damaged end of the latest event file, at which TensorBoard would stop reading. */
function repairEvents(directory: string, onWarning: (message: string) => void): void {
  const name = readdirSync(directory).filter(isEvents).sort().at(-1);
  if (name === undefined) return;
  const path = join(directory, name);
  const bytes = readFileSync(path);
  const end = wholeRecords(bytes);
  if (end === bytes.length) return;
  truncateSync(path, end);
  onWarning(`${path}: its last ${bytes.length - end} bytes were incomplete or damaged and are removed`);
}

function isEvents(name: string): boolean {
  return /^events\.out\.tfevents\.\d+\./.test(name);
}

/** Returns the latest time in the names of a folder's event files; -1 if there are none. */
function latestStamp(directory: string): number {
  const stamps = readdirSync(directory).map((name) => /^events\.out\.tfevents\.(\d+)\./.exec(name)?.[1]);
  return Math.max(-1, ...stamps.filter((stamp) => stamp !== undefined).map(Number));
}
