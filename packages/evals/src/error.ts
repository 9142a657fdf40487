/** An error of rows, options or a model; the message is one line. */
export class EvalsError extends Error {
  override readonly name = 'EvalsError';
}

export function requireWhole(what: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new EvalsError(`${what}: got ${value}, expected a whole number from ${least}`);
}
