/** Runs one program of a study as a process. */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { findWorker } from '@meap/files';
import { RunError } from '@meap/recipe-cli';

export interface ProcessOptions {
  /** The program's entry point, and its arguments. */
  cli: string;
  args: readonly string[];
  /** A command that runs another on some cores, such as `taskset`. */
  pin: readonly string[];
  threads: number;
  /** File to which all output but JSON lines is appended. */
  log: string;
  /** When aborted, the program is asked to save and stop. */
  signal?: AbortSignal;
  /** Receives the JSON lines of the program's output. */
  onEvent?: (event: Readonly<Record<string, unknown>>) => void;
}

export interface ProcessEnd {
  /** Null after a signal that the program did not handle. */
  code: number | null;
  /** The last lines of its error output. */
  lastLines: string[];
}

const NUM_LAST_LINES = 5;

/** Runs a program to its end. */
export function runProcess(options: ProcessOptions): Promise<ProcessEnd> {
  const { cli, args, pin, threads, log, signal, onEvent = () => {} } = options;
  const preload = findWorker('end-with-parent.js', import.meta.url);
  if (preload === undefined) throw new RunError('meap-study: is not built, expected dist; run pnpm build');
  const command = [...pin, process.execPath, '--import', pathToFileURL(preload).href, cli, ...args];
  const child = spawn(command[0], command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...process.env, MEAP_NUM_THREADS: String(threads) },
    // Ctrl-C in a terminal then reaches only the study, which passes it on once: a second one would end a program at once.
    detached: true,
  });
  const file = createWriteStream(log, { flags: 'a' });
  const lastLines: string[] = [];
  createInterface(child.stdout!).on('line', (line) => {
    const event = parseEvent(line);
    if (event) onEvent(event);
    else file.write(`${line}\n`);
  });
  createInterface(child.stderr!).on('line', (line) => {
    file.write(`${line}\n`);
    lastLines.push(line);
    if (lastLines.length > NUM_LAST_LINES) lastLines.shift();
  });
  const stop = () => child.kill('SIGTERM');
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      signal?.removeEventListener('abort', stop);
      file.end();
      resolve({ code, lastLines });
    });
  });
}

function parseEvent(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
