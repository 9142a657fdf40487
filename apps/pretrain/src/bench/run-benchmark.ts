import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageFolder } from '@meap/files';

const file = (path: string) => join(packageFolder(import.meta.url), path);

/** Program and script of this project's benchmark of a training step. */
export const OURS = [process.execPath, file('dist/bench/train.js')] as const;
/** Program and script of the same benchmark in PyTorch. */
export const PYTORCH = [process.env.MEAP_PYTHON ?? 'python3', file('bench/torch_llama_bench.py')] as const;

/** A program and its script. */
export type Benchmark = typeof OURS | typeof PYTORCH;

/** Runs a benchmark in a new process and parses the last line of its output. Rejects if it fails. */
export async function runBenchmark<T>([program, script]: Benchmark, args: readonly string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(program, [script, ...args], { maxBuffer: 1 << 26 });
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}
