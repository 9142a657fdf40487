/** What a run was begun with, so that another text is refused before it is tokenised, which may take days. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listCheckpoints, requireSameRun, type TrainerState } from '@meap/trainer';

/** As much of a dataset's fingerprint as checkpoints keep. */
export function dataKey(fingerprint: string): string {
  return fingerprint.slice(0, 16);
}

/**
 * Makes the test whether a dataset is the one of the run that would be resumed; it throws a ResumeMismatchError, after
 * `onOther`, unless it is.
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

/** The state in a checkpoint; a damaged one is told when it is opened. */
function stateOf(path: string): TrainerState | undefined {
  try {
    return JSON.parse(readFileSync(join(path, 'trainer/state.json'), 'utf8'));
  } catch {
    return undefined;
  }
}
