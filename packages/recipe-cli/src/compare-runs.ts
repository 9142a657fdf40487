/** The parts of two runs that have to be equal if the runs are. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { ProbeMetrics, StepMetrics, ValidationMetrics } from '@meap/trainer';
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

/** A line of `metrics.jsonl`. */
type Line = Partial<StepMetrics & ValidationMetrics & ProbeMetrics>;

/** Reads a run's `metrics.jsonl` without the measurements of time and memory. */
export function readExactMetrics(out: string): Omit<Line, 'seconds'>[] {
  const lines = readJsonLines<Line>(join(out, 'metrics.jsonl'));
  return lines.map(({ tokensPerSecond, mfu, residentBytes, backendBytes, seconds, ...exact }) => exact);
}
