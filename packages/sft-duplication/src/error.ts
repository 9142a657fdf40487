/** An invalid request or sample: an option, id or length out of range. The message is one line. */
export class SftError extends Error {
  override readonly name = 'SftError';
}

/** Throws unless `value` is an integer in [min, max]. */
export function requireInteger(where: string, name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new SftError(
    `${where}: ${name} is out of range, got ${value}, expected an integer from ${min} to ${max}`,
  );
}
