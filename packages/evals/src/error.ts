/** An error of rows, options or a model; the message is one line. */
export class EvalsError extends Error {
  override readonly name = 'EvalsError';
}
