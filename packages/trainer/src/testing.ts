/** A process that trains the tiny model of `fixtures` with the built package, and what it leaves; not part of the build. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';

/** A line that the process prints. */
export interface Event {
  type: string;
  step?: number;
  message?: string;
  [key: string]: unknown;
}
/** Its options and the faults to inject: see `fixtures/child.mjs`. */
export interface ChildOptions {
  every?: number;
  stallAt?: number;
  nanAt?: number;
  demandAt?: number;
  hoardAt?: number;
  clockShift?: number;
  pauseAt?: number[];
}
/** What it runs in; `shell` is done before it, in its own shell. */
export interface Surroundings {
  uid?: number;
  nodeOptions?: string[];
  shell?: string;
  /** A program that starts it, with its arguments. */
  launcher?: readonly string[];
}

export const STEPS = 40;
export const script = fileURLToPath(new URL('../fixtures/child.mjs', import.meta.url));
export const root = mkdtempSync(join(tmpdir(), 'meap-process-'));
/** The current test's run, not there yet. */
export let directory: string;
let whole: Record<string, string>;
let count = 0;

/** Before the tests of a file, a run that nothing disturbs; before each test, a directory of its own. */
export function prepareRuns(): void {
  beforeAll(async () => {
    await finish({}, {}, join(root, 'whole'));
    whole = outcome(join(root, 'whole'));
  });
  beforeEach(nextDirectory);
  afterAll(() => rmSync(root, { recursive: true }));
}

/** Gives the next run a directory of its own. */
export function nextDirectory(): void {
  directory = join(root, String(count++));
}

/** Starts a run. */
export function start(
  options: ChildOptions = {},
  { uid, nodeOptions = [], shell, launcher = [] }: Surroundings = {},
  where = directory,
): ChildProcess {
  const args = [...nodeOptions, script, where, JSON.stringify({ steps: STEPS, every: 1, ...options })];
  const [command, ...rest] = shell
    ? [...launcher, 'sh', '-c', `${shell}; exec "$@"`, 'sh', process.execPath, ...args]
    : [...launcher, process.execPath, ...args];
  return spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'], uid });
}

/** Calls back for each event until the process ends; returns all of them and how it ended. */
export async function follow(child: ChildProcess, onEvent: (event: Event) => void = () => {}) {
  const events: Event[] = [];
  let stderr = '';
  child.stderr!.on('data', (chunk) => {
    stderr += chunk;
  });
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout! })) {
    // A killed process leaves its last line torn.
    if (!line.endsWith('}')) continue;
    events.push(JSON.parse(line));
    onEvent(events.at(-1)!);
  }
  const [code, signal] = await closed;
  const warnings = events.flatMap(({ type, message }) => (type === 'warning' ? [message!] : []));
  return { events, warnings, code: code as number | null, signal: signal as string | null, stderr };
}

/** Runs to the end, or goes on to it. */
async function finish(
  options: ChildOptions = {},
  surroundings: Surroundings = {},
  where = directory,
): Promise<Event[]> {
  const { events, code, stderr } = await follow(start(options, surroundings, where));
  expect(code, stderr).toBe(0);
  expect(events.at(-1)).toMatchObject({ type: 'result', status: 'finished' });
  return events;
}

/** What must be equal between two runs: last checkpoint and logs, but for what the clock decides. */
function outcome(where: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(where, { recursive: true, encoding: 'utf8' })) {
    if (!/\.jsonl$|step-00000040.*\.(json|safetensors)$/.test(name)) continue;
    files[name] = readFileSync(join(where, name), 'latin1').replaceAll(
      /"(tokensPerSecond|residentBytes|backendBytes)":[^,}]+/g,
      '',
    );
  }
  return files;
}

/** The run must have left the bytes of one that nothing disturbed. */
export function expectWhole(): void {
  expect(outcome(directory)).toEqual(whole);
}

/** Finishes the run without faults; it must end in the bytes of one that met none. */
export async function expectExactResume(options: ChildOptions = {}): Promise<Event[]> {
  const events = await finish(options);
  expectWhole();
  return events;
}
