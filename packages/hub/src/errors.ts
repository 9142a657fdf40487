/** A name that the Hub does not have, or a file that could not be fetched; the message says what to do. */
export class HubError extends Error {
  override name = 'HubError';
}

/** The message of an error of any type, in one line, with that of its cause. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Errors of fetch only say "fetch failed"; the cause has the reason.
  const { cause } = error;
  const reason = cause instanceof Error ? `${error.message}: ${reasonOf(cause)}` : error.message;
  return reason.replaceAll(/\s*\n\s*/g, ' ');
}
