/** The worker thread of {@link startDashboardThread}. */
import { parentPort, workerData } from 'node:worker_threads';
import { startDashboard, type WorkerMessage } from './dashboard.ts';

const send = (message: WorkerMessage) => parentPort!.postMessage(message);

try {
  const dashboard = await startDashboard(workerData);
  parentPort!.once('message', async ({ reason }: { reason?: string }) => {
    await dashboard.close(reason);
    parentPort!.close();
  });
  send({ url: dashboard.url });
} catch (error) {
  send({ error: (error as Error).message });
}
