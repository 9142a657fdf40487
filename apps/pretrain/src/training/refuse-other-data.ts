/** Compares data with those of the run to resume before tokenizing them, which may take days. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listCheckpoints, requireSameRun, type TrainerState } from '@meap/trainer';

/** Returns the part of a dataset's fingerprint that checkpoints store. */
export function dataKey(fingerprint: string): string {
  return fingerprint.slice(0, 16);
}

/**
 * Returns a function that compares a dataset with that of the run to resume. If they differ, it calls `onOther` and throws
 * ResumeMismatchError.
 */
export async function sameDataTest(
  out: string,
  resume: string,
): Promise<(fingerprint: string, onOther: () => void) => void> {
  const run = resume === 'auto' ? out : resume;
  const isRun = resume === 'auto' || existsSync(join(run, 'checkpoints'));
  const [path] = resume === 'never' ? [] : isRun ? await listCheckpoints(join(run, 'checkpoints')) : [run];
  const state = path === undefined ? undefined : stateOf(path);
  return (fingerprint, onOther) => {
    const expected = state?.fingerprints?.data;
    if (expected === undefined || expected === dataKey(fingerprint)) return;
    onOther();
    requireSameRun({ path: path!, state: state! }, { ...state!.fingerprints, data: dataKey(fingerprint) });
  };
}

/** Reads the state of a checkpoint; undefined if it is damaged, which opening it reports. */
function stateOf(path: string): TrainerState | undefined {
  try {
    return JSON.parse(readFileSync(join(path, 'trainer/state.json'), 'utf8'));
  } catch {
    return undefined;
  }
}
