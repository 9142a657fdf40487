/** The thread that writes checkpoints while another one trains. */
import { parentPort } from 'node:worker_threads';
import { type CheckpointJob, writeCheckpoint } from './write-checkpoint.ts';

/** What became of a job: the checkpoint's path, or why there is none. */
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
