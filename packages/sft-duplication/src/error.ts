/** An impossible request or a sample that cannot be used: an option, id or length out of range. One line. */
export class SftError extends Error {
  override readonly name = 'SftError';
}

/** Throws unless `value` is an integer in [least, most]. */
export function requireInteger(
  where: string,
  name: string,
  value: number,
  least: number,
  most: number,
): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new SftError(
      `${where}: ${name} is out of range, got ${value}, expected an integer from ${least} to ${most}`,
    );
  }
}
