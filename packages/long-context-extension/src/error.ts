/** An invalid extension; the message says what is allowed. */
export class ExtensionError extends Error {
  /** The invalid option or key. */
  readonly what: string;
  readonly value: unknown;
  readonly expected: string;

  constructor(what: string, value: unknown, expected: string) {
    super(`${what}: got ${JSON.stringify(value)}, expected ${expected}`);
    this.name = 'ExtensionError';
    this.what = what;
    this.value = value;
    this.expected = expected;
  }
}
