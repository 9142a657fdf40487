/** An AbortSignal tied to SIGINT, SIGTERM, SIGHUP and SIGUSR2. */
export interface StopSignals {
  /** Aborted by the first signal; its reason is the signal's name. */
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
 * Turns the first SIGINT, SIGTERM, SIGHUP or SIGUSR2 into an abort, so that `train` saves and returns. A second SIGINT,
 * SIGTERM or SIGUSR2 ends the process: the handlers are removed after the first, so that this works even during a long
 * computation.
 *
 * Schedulers can send SIGUSR2 before a time limit, and Open MPI's `mpirun` forwards it. SIGHUP never counts as the second
 * signal: at the end of a session, shell, kernel and service manager may each send it, together with SIGTERM.
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
