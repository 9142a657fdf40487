/** The parts of two runs that have to be equal if the runs are. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { StepMetrics, ValidationMetrics } from '@meap/trainer';
import { readJsonLines } from './metrics.ts';

/** Returns the SHA-256 of every file below a folder, by path. */
export function hashFiles(folder: string): Record<string, string> {
  const hashes: Record<string, string> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    hashes[relative(folder, path)] = createHash('sha256').update(readFileSync(path)).digest('hex');
  }
  return hashes;
}

/** Reads a run's `metrics.jsonl` without the measurements of time and memory. */
export function readExactMetrics(out: string): Partial<StepMetrics & ValidationMetrics>[] {
  const lines = readJsonLines<Partial<StepMetrics & ValidationMetrics>>(join(out, 'metrics.jsonl'));
  return lines.map(({ tokensPerSecond, mfu, residentBytes, backendBytes, ...exact }) => exact);
}
