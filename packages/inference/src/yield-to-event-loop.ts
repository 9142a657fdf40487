/**
 * Lets the process hear signals and timers between two pieces of work, and ends the work if one asked for it.
 *
 * @throws the signal's reason
 */
export async function yieldToEventLoop(signal: AbortSignal | undefined): Promise<void> {
  await new Promise(setImmediate);
  signal?.throwIfAborted();
}
