/**
 * Preloaded into the programs of a study: where the study dies, such as by kill -9, its programs save and end too, so that
 * the study that follows finds their folders free.
 */
import { isMainThread } from 'node:worker_threads';

if (isMainThread && process.channel) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // The listener alone does not keep the program running.
  process.channel.unref();
}
