/** An invalid masking request: a ratio, length, id, step or row out of range. The message is one line. */
export class MaskingError extends Error {
  override readonly name = 'MaskingError';
}

/** Throws unless `value` is an integer in [min, max]. */
export function requireInteger(where: string, name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new MaskingError(
    `${where}: ${name} is out of range, got ${value}, expected an integer from ${min} to ${max}`,
  );
}

/** Throws unless 0 ≤ ratio < 1. */
export function requireRatio(where: string, ratio: number): void {
  if (!(ratio >= 0 && ratio < 1)) {
    throw new MaskingError(
      `${where}: ratio is out of range, got ${ratio}, expected a share of the tokens, at least 0 and less than 1 ` +
        '(0.15 masks 15 %, 0 is plain next-token prediction)',
    );
  }
}
