/** An AbortSignal tied to SIGINT, SIGTERM and SIGUSR2. */
export interface StopSignals {
  /** Aborted by the first of them; its reason is the signal's name. */
  signal: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

const NAMES: NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  ...(process.platform === 'win32' ? [] : ['SIGUSR2' as const]),
];

/**
 * Turns the first SIGINT, SIGTERM or SIGUSR2 into an abort, for `train` to save and return; the second ends the process.
 *
 * SIGUSR2 is what schedulers can be told to send ahead of time, and what Open MPI's `mpirun` hands on without killing.
 *
 * After the first the handlers are gone, so the second meets the system's default even in the middle of a
 * computation that never yields.
 */
export function stopOnSignals(): StopSignals {
  const controller = new AbortController();
  const dispose = () => {
    for (const name of NAMES) process.off(name, onSignal);
  };
  const onSignal = (name: NodeJS.Signals) => {
    dispose();
    controller.abort(name);
  };
  for (const name of NAMES) process.on(name, onSignal);
  return { signal: controller.signal, dispose };
}
