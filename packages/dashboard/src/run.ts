/** A run, read from its directory: the summary always, curves and samples while the run is displayed. */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FoundRun } from './find-runs.ts';
import { LineTail, openPlain, readAt } from './line-tail.ts';
import { parsePlainYaml } from './plain-yaml.ts';
import { readBatch, textOf } from './read-batch.ts';
import { isTrainingLine, number, parse, Series } from './series.ts';
import type { ConfigAnswer, RecentBatch, RunSummary, SamplesAnswer } from './shared/protocol.ts';
import { readSmallFile } from './small-file.ts';

/** Bytes at the end of the log from which the summary is computed. */
const END_BYTES = 1 << 15;
/** Steps from which the throughput is computed. */
const PACE_STEPS = 50;
/** Samples whose positions in the file are kept. */
const MAX_SAMPLES = 10_000;

/** The part of a summary read from `metrics.jsonl`, without a line. */
const NO_METRICS = {
  ...{ changedAt: 0, step: 0, tokens: 0, loss: null, tokensPerSecond: null },
  ...{ valLoss: null, bitsPerByte: null, secondsLeft: null },
};

/** The part of a summary read from `config.yaml` and `environment.json`. */
type Described = Pick<RunSummary, 'totalSteps' | 'device' | 'parameters'>;

export class Run {
  readonly id: string;
  readonly path: string;
  readonly name: string;
  summary: RunSummary;
  /** Number of changes of the summary. */
  revision = 0;
  /** Present while the run is displayed. */
  series: Series | undefined;
  #tail: LineTail | undefined;
  #samplesTail: LineTail | undefined;
  #samplesBusy: Promise<unknown> = Promise.resolve();
  #samples: { step: number; start: number; bytes: number }[] = [];
  #versions = new Map<string, string>();
  #described: Described | undefined;
  #generationsBefore = 0;
  #heartbeat: { version: string; at: number } | undefined;

  constructor({ path, name }: FoundRun) {
    this.id = createHash('sha256').update(path).digest('hex').slice(0, 12);
    this.path = path;
    this.name = name;
    this.summary = {
      ...{ id: this.id, name, state: 'stopped', silentSeconds: null, problem: '', ...NO_METRICS },
      ...{ totalSteps: null, device: '', parameters: null },
      versions: { config: '', batch: '', samples: '' },
    };
  }

  /** Updates the summary from the files that have changed. */
  async refresh(): Promise<void> {
    const before = JSON.stringify({ ...this.summary, silentSeconds: 0 });
    const changed = async (name: string) => {
      const version = await versionOf(join(this.path, name));
      const isNew = this.#versions.get(name) !== version;
      this.#versions.set(name, version);
      return isNew;
    };
    const describes = [await changed('config.yaml'), await changed('environment.json')];
    if (describes.includes(true) || !this.#described) this.#described = await this.#describe();
    Object.assign(this.summary, this.#described);
    if (await changed('metrics.jsonl')) await this.#readEnd();
    for (const name of ['batch.json', 'samples.jsonl']) await changed(name);
    const of = (name: string) => this.#versions.get(name) ?? '';
    const [config, batch, samples] = ['config.yaml', 'batch.json', 'samples.jsonl'].map(of);
    this.summary.versions = { config, batch, samples };
    const { changedAt, step, totalSteps } = this.summary;
    const hasAllSteps = totalSteps !== null && step >= totalSteps;
    this.summary.state = (await this.#isHeld()) ? 'running' : hasAllSteps ? 'finished' : 'stopped';
    this.summary.silentSeconds = changedAt === 0 ? null : Math.max(0, (Date.now() - changedAt) / 1000);
    if (JSON.stringify({ ...this.summary, silentSeconds: 0 }) !== before) this.revision++;
  }

  /** Reads the curves, or their new steps; returns whether more data can be read immediately. */
  async readCurves(): Promise<boolean> {
    if (!this.series || !this.#tail) {
      this.series = new Series();
      // Pages must not append to the curves of an earlier generation.
      this.series.generation = this.#generationsBefore;
      this.#tail = new LineTail(join(this.path, 'metrics.jsonl'));
    }
    const { reset, lines, more } = await this.#tail.poll();
    if (reset) this.series.reset();
    for (const { text } of lines) this.series.add(text);
    return more;
  }

  /** Frees the curves and samples. */
  close(): void {
    this.#generationsBefore = (this.series?.generation ?? 0) + 1;
    this.series = undefined;
    this.#tail = undefined;
    this.#samplesTail = undefined;
    this.#samples = [];
  }

  /** Returns the samples of a step, of the last step if `step` is null or has none, and all steps with samples. */
  samples(step: number | null): Promise<SamplesAnswer> {
    // Sequential: concurrent reads would add the same lines twice.
    const answer = this.#samplesBusy.then(() => this.#readSamples(step));
    this.#samplesBusy = answer.catch(() => {});
    return answer;
  }

  async #readSamples(step: number | null): Promise<SamplesAnswer> {
    this.#samplesTail ??= new LineTail(join(this.path, 'samples.jsonl'));
    for (let more = true; more; ) {
      const change = await this.#samplesTail.poll();
      more = change.more;
      if (change.reset) this.#samples = [];
      for (const { text, start } of change.lines) {
        const at = number(parse(text)?.step);
        if (at !== null) this.#samples.push({ step: at, start, bytes: Buffer.byteLength(text) });
      }
      this.#samples.splice(0, this.#samples.length - MAX_SAMPLES);
    }
    const steps = [...new Set(this.#samples.map((sample) => sample.step))].sort((a, b) => a - b);
    const chosen = step !== null && steps.includes(step) ? step : (steps.at(-1) ?? null);
    const file = await openPlain(join(this.path, 'samples.jsonl'));
    const rows: SamplesAnswer['rows'] = [];
    try {
      for (const { start, bytes } of this.#samples.filter((sample) => sample.step === chosen).slice(0, 50)) {
        const line = file && parse((await readAt(file, start, bytes)).toString('utf8'));
        if (line) {
          const { prompt, text, reference } = line;
          const sample = { prompt: textOf(prompt), text: textOf(text) };
          rows.push(reference === undefined ? sample : { ...sample, reference: textOf(reference) });
        }
      }
    } finally {
      await file?.close();
    }
    return { steps, step: chosen, rows };
  }

  /** Returns the configuration as a map from key path to value. */
  async config(): Promise<ConfigAnswer> {
    return flatten(await this.#yaml());
  }

  /** Returns a recent batch; null if the file is missing or invalid. */
  async batch(): Promise<RecentBatch | null> {
    return readBatch(await readJson(join(this.path, 'batch.json')));
  }

  async #yaml(): Promise<unknown> {
    try {
      return parsePlainYaml((await readSmallFile(join(this.path, 'config.yaml'))) ?? '');
    } catch {
      return undefined;
    }
  }

  async #describe(): Promise<Described> {
    const environment = (await readJson(join(this.path, 'environment.json'))) ?? {};
    const config = (await this.#yaml()) as { train?: { max_steps?: unknown } } | null | undefined;
    const { run, backend, cpu } = environment as Record<string, Record<string, unknown> | null | undefined>;
    const name = typeof backend?.name === 'string' ? backend.name : '';
    const device = name === 'native' && typeof cpu === 'string' ? cpu : textOf(backend?.device);
    return {
      totalSteps: number(run?.steps) ?? number(config?.train?.max_steps),
      parameters: number(run?.parameters),
      device: [name, device].filter(Boolean).join(', ').slice(0, 200),
    };
  }

  /** Updates the summary from the end of the log. */
  async #readEnd(): Promise<void> {
    const summary = this.summary;
    const path = join(this.path, 'metrics.jsonl');
    const file = await openPlain(path);
    const exists = file !== undefined || (await versionOf(path)) !== '';
    summary.problem = exists && !file ? 'metrics.jsonl cannot be read' : '';
    Object.assign(summary, NO_METRICS);
    if (!file) return;
    try {
      const { size, mtimeMs } = await file.stat();
      summary.changedAt = mtimeMs;
      const from = Math.max(0, size - END_BYTES);
      const lines = (await readAt(file, from, size - from))
        .toString('utf8')
        .split('\n')
        .slice(from > 0 ? 1 : 0, -1);
      this.#status(lines.map(parse).filter((line) => line !== undefined));
    } finally {
      await file.close();
    }
  }

  #status(lines: readonly Record<string, unknown>[]): void {
    const summary = this.summary;
    const steps = lines.filter((line) => isTrainingLine(line) && number(line.step) !== null);
    const last = steps.at(-1);
    if (last) {
      summary.step = number(last.step)!;
      summary.tokens = number(last.tokens) ?? 0;
      summary.loss = number(last.loss);
    }
    const validation = lines.findLast((line) => 'valLoss' in line);
    summary.valLoss = number(validation?.valLoss);
    summary.bitsPerByte = number(validation?.bitsPerByte);
    const paces = steps.slice(-PACE_STEPS).map((line) => number(line.tokensPerSecond) ?? 0);
    const pace = paces.filter((value) => value > 0).sort((a, b) => a - b);
    // The median is robust against steps during which the machine was busy.
    summary.tokensPerSecond = pace[Math.floor(pace.length / 2)] ?? null;
    const [first] = steps;
    const isMeasured =
      last && first !== last && summary.tokensPerSecond !== null && summary.totalSteps !== null;
    if (!isMeasured) return;
    const perStep = (summary.tokens - (number(first.tokens) ?? 0)) / (summary.step - number(first.step)!);
    const left = Math.max(0, summary.totalSteps! - summary.step);
    summary.secondsLeft = number((left * perStep) / summary.tokensPerSecond!);
  }

  /** Whether the process in `run.lock` runs; on another machine, whether it still updates the file's time. */
  async #isHeld(): Promise<boolean> {
    const path = join(this.path, 'run.lock');
    const holder = await readJson(path);
    if (!holder) return false;
    const { pid, boot, namespaces } = holder;
    const scope = processScope();
    if (scope && boot === scope.boot && namespaces === scope.namespaces) return isProcess(pid);
    const version = await versionOf(path);
    const now = performance.now();
    if (version !== this.#heartbeat?.version) {
      // The first time, only the clock can tell; the file's may be another machine's.
      const mtimeMs = this.#heartbeat
        ? Date.now()
        : ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
      const age = Math.min(LOCK_TIMEOUT_MS, Math.abs(Date.now() - mtimeMs));
      this.#heartbeat = { version, at: now - age };
    }
    return now - this.#heartbeat.at < LOCK_TIMEOUT_MS;
  }
}

/** A lock not updated for this long belongs to a process that has ended; the trainer uses the same rule. */
const LOCK_TIMEOUT_MS = 60_000;

/** Returns the boot id and namespaces in which pids are valid for this process; undefined if unavailable. */
function processScope(): { boot: string; namespaces: string } | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const namespaces = ['pid', 'time'].map((name) => readlinkSync(`/proc/self/ns/${name}`)).join(' ');
    return { boot, namespaces };
  } catch {
    return undefined;
  }
}

function isProcess(pid: unknown): boolean {
  if (typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Returns a string that changes with the file; empty if the file is missing. */
async function versionOf(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  return found ? `${found.ino}-${found.size}-${found.mtimeMs}` : '';
}

async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  return parse((await readSmallFile(path)) ?? '');
}

function flatten(value: unknown, path = '', into: ConfigAnswer = {}): ConfigAnswer {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path ? `${path}.${key}` : key, into);
  } else if (value !== undefined && value !== null && path !== '') {
    // A key may be `__proto__`.
    const descriptor = { writable: true, enumerable: true, configurable: true };
    Object.defineProperty(into, path, { value: textOf(value), ...descriptor });
  }
  return into;
}
