/** The thread of a dashboard that runs beside training. */
import { parentPort, workerData } from 'node:worker_threads';
import { startDashboard, type WorkerAnswer } from './dashboard.ts';

const say = (answer: WorkerAnswer) => parentPort!.postMessage(answer);

try {
  const dashboard = await startDashboard(workerData);
  parentPort!.once('message', async ({ reason }: { reason?: string }) => {
    await dashboard.close(reason);
    parentPort!.close();
  });
  say({ url: dashboard.url });
} catch (error) {
  say({ error: (error as Error).message });
}
