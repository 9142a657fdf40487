/** Losses and answers before the first step, for comparison with those after training. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '@meap/files';

/** Losses and answers before training. */
export interface Baseline {
  /** Mean loss of held-out answers, nats per token. */
  valLoss: number;
  /** Mean loss of masked tokens; absent if no answer is long enough to be masked. */
  maskedLoss?: number;
  samples: { prompt: string; text: string }[];
}

/** Reads `before.json` of a run; undefined if it does not exist. */
export function readBaseline(out: string): Baseline | undefined {
  const path = join(out, 'before.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

/** Writes `before.json` atomically. */
export function writeBaseline(out: string, baseline: Baseline): void {
  writeFileAtomic(join(out, 'before.json'), `${JSON.stringify(baseline, null, 2)}\n`);
}
