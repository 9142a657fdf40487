/** What the model said and lost before the first step, to set beside what it does afterwards. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '@meap/files';

/** Losses and answers of the untrained model. */
export interface Baseline {
  /** Mean loss of held-out answers, nats per token. */
  valLoss: number;
  /** Mean loss of masked tokens; absent where no answer is long enough for masks. */
  maskedLoss?: number;
  samples: { prompt: string; text: string }[];
}

/** Reads `before.json` of a run; undefined where there is none. */
export function readBaseline(out: string): Baseline | undefined {
  const path = join(out, 'before.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

/** Writes `before.json`, complete or not at all. */
export function writeBaseline(out: string, baseline: Baseline): void {
  writeFileAtomic(join(out, 'before.json'), `${JSON.stringify(baseline, null, 2)}\n`);
}
