/** The thread that writes checkpoints during training. */
import { parentPort } from 'node:worker_threads';
import { type CheckpointJob, writeCheckpoint } from './write-checkpoint.ts';

/** The path of the written checkpoint, or the error. */
export type CheckpointAnswer = { path: string } | { error: string };

parentPort!.on('message', async (job: CheckpointJob) => {
  let answer: CheckpointAnswer;
  try {
    answer = { path: await writeCheckpoint(job) };
  } catch (error) {
    answer = { error: (error as Error).message };
  }
  parentPort!.postMessage(answer);
});
