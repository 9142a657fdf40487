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

/** Removes a token, which a server may have repeated, from an error and its causes. */
export function withoutToken(error: unknown, token: string | undefined): unknown {
  // Shorter ones are no tokens, and occur in words.
  if (token && token.length >= 8 && error instanceof Error) {
    error.message = error.message.replaceAll(token, '***');
    error.stack = error.stack?.replaceAll(token, '***');
    withoutToken(error.cause, token);
  }
  return error;
}
