/**
 * Lets the event loop handle signals and timers.
 *
 * @throws the signal's reason if it is aborted
 */
export async function yieldToEventLoop(signal: AbortSignal | undefined): Promise<void> {
  await new Promise(setImmediate);
  signal?.throwIfAborted();
}
