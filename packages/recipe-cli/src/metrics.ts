import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProbeMetrics, StepMetrics, ValidationMetrics } from '@meap/trainer';
import { RunError } from './errors.ts';

/** The lines of a run's `metrics.jsonl`. */
export interface RunMetrics {
  steps: StepMetrics[];
  validations: ValidationMetrics[];
  probes: ProbeMetrics[];
}

/** Reads a run's `metrics.jsonl`, with the steps before it was resumed. */
export function readMetrics(out: string): RunMetrics {
  const steps: StepMetrics[] = [];
  const validations: ValidationMetrics[] = [];
  const probes: ProbeMetrics[] = [];
  type Line = StepMetrics | ValidationMetrics | ProbeMetrics;
  for (const line of readJsonLines<Line>(join(out, 'metrics.jsonl'))) {
    if ('valLoss' in line) validations.push(line);
    else if ('probes' in line) probes.push(line);
    else steps.push(line);
  }
  return { steps, validations, probes };
}

/** A line of `samples.jsonl`. */
export interface SampleLine {
  step: number;
  prompt: string;
  text: string;
  /** What follows the prompt in the validation text. */
  reference?: string;
}

/** Reads the samples of the last step with samples. */
export function readLastSamples(out: string): SampleLine[] {
  const lines = readJsonLines<SampleLine>(join(out, 'samples.jsonl'));
  return lines.filter(({ step }) => step === lines.at(-1)?.step);
}

/** Averages the loss over at most `maxPoints` intervals of equal length. */
export function lossCurve(
  steps: readonly StepMetrics[],
  maxPoints: number,
): { step: number; loss: number }[] {
  const finite = steps.filter((line): line is StepMetrics & { loss: number } => line.loss !== null);
  const size = Math.max(1, Math.ceil(finite.length / maxPoints));
  const curve: { step: number; loss: number }[] = [];
  for (let start = 0; start < finite.length; start += size) {
    const run = finite.slice(start, start + size);
    curve.push({ step: run.at(-1)!.step, loss: run.reduce((sum, { loss }) => sum + loss, 0) / run.length });
  }
  return curve;
}

/** Returns the median tokens per second of the steps. */
export function medianThroughput(steps: readonly StepMetrics[]): number {
  const sorted = steps.map(({ tokensPerSecond }) => tokensPerSecond).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/**
 * Reads a file with one JSON object per line; a missing file has none. An incomplete last line is ignored: a running
 * program may be writing it.
 *
 * @throws RunError for any other line that is not a JSON object
 */
export function readJsonLines<Line>(path: string): Line[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  const found: Line[] = [];
  for (const [i, line] of lines.entries()) {
    if (line === '') continue;
    const value = parseObject(line);
    if (value) found.push(value as Line);
    else if (i < lines.length - 1) {
      throw new RunError(
        `${path}: line ${i + 1} is damaged, expected a JSON object; resume the run, which repairs it, or delete the line`,
      );
    }
  }
  return found;
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
