/** Rows that are not what a task expects, options out of range, or a model that breaks its contract. One line. */
export class EvalsError extends Error {
  override readonly name = 'EvalsError';
}
