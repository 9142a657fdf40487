/** An AbortSignal tied to SIGINT and SIGTERM. */
export interface StopSignals {
  /** Aborted by the first SIGINT or SIGTERM; its reason is the signal's name. */
  signal: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

/**
 * Turns the first SIGINT or SIGTERM into an abort, for `train` to save and return; the second ends the process.
 *
 * After the first the handlers are gone, so the second meets the system's default even in the middle of a
 * computation that never yields.
 */
export function stopOnSignals(): StopSignals {
  const controller = new AbortController();
  const dispose = () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  const onSignal = (name: NodeJS.Signals) => {
    dispose();
    controller.abort(name);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return { signal: controller.signal, dispose };
}
