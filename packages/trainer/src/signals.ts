/** An AbortSignal tied to SIGINT, SIGTERM, SIGHUP and SIGUSR2. */
export interface StopSignals {
  /** Aborted by the first of them; its reason is the signal's name. */
  signal: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

const REPEATABLE: NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  ...(process.platform === 'win32' ? [] : ['SIGUSR2' as const]),
];

/**
 * Turns the first SIGINT, SIGTERM, SIGHUP or SIGUSR2 into an abort, for `train` to save and return; a second SIGINT,
 * SIGTERM or SIGUSR2 ends the process.
 *
 * SIGUSR2 is what schedulers can be told to send ahead of time, and what Open MPI's `mpirun` hands on without killing.
 *
 * SIGHUP is the end of a terminal or of a session. Shell, kernel and service manager each send it, with SIGTERM before or
 * after, and nobody asks twice: it is never the second.
 *
 * After the first the handlers are gone, so the second meets the system's default even in the middle of a
 * computation that never yields.
 */
export function stopOnSignals(): StopSignals {
  const controller = new AbortController();
  const release = () => {
    for (const name of REPEATABLE) process.off(name, onSignal);
  };
  const onSignal = (name: NodeJS.Signals) => {
    release();
    controller.abort(name);
  };
  const onHangup = () => controller.abort('SIGHUP');
  for (const name of REPEATABLE) process.on(name, onSignal);
  process.on('SIGHUP', onHangup);
  const dispose = () => {
    release();
    process.off('SIGHUP', onHangup);
  };
  return { signal: controller.signal, dispose };
}
