/**
 * The fixed date that chat templates see: training data and prompts must not depend on when they are rendered.
 *
 * Friday 26 July 2024, 00:00, without a time zone, as Python's `datetime(2024, 7, 26).strftime` writes it on Linux in
 * the C locale. Llama's own templates default to this date.
 */

const table = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(text.split('|').map((entry) => [entry[0], entry.slice(1)]));

/** Digits of numbers by code; a leading space stands for padding with spaces instead of zeros. */
const NUMBERS = table('d26|e 26|g24|H0|I12|j208|k 0|l 12|m7|M0|S0|U29|V30|W30|y24');

const VALUES = {
  ...table(
    'aFri|AFriday|bJul|BJuly|cFri Jul 26 00:00:00 2024|C20|D07/26/24|f000000|F2024-07-26|G2024|hJul|n\n|pAM|Pam|' +
      'r12:00:00 AM|R00:00|s1721952000|t\t|T00:00:00|u5|w5|x07/26/24|X00:00:00|Y2024|z|Z|%%',
  ),
  ...NUMBERS,
};

/** Codes allowed after `E` and `O`, which select a locale's own calendar and digits; the C locale has none. */
const ALTERNATIVES: Readonly<Record<string, string>> = { '': '', E: 'cCxXyY', O: 'deHImMSuUVwWy' };

/**
 * `strftime` of {@link VALUES | the fixed date}.
 *
 * @param format with the codes of C and Python, each optionally with a flag `-`, `_`, `0`, `^` or `#`
 * @throws Error for an unknown code
 */
export function fixedStrftime(format: unknown): string {
  if (typeof format !== 'string') throw new Error(`strftime_now: got ${typeof format}, expected a format`);
  return format.replace(
    /%([-_0^#]?)([EO]?)(.)/gs,
    (directive, flag: string, alternative: string, code: string) => {
      const value = Object.hasOwn(VALUES, code) ? VALUES[code] : undefined;
      const isKnown = alternative === '' || ALTERNATIVES[alternative].includes(code);
      if (value === undefined || !isKnown || (code === 'f' && flag !== '')) {
        throw new Error(
          `strftime_now: unknown code ${directive} in '${format}', expected %${Object.keys(VALUES).join(' %')}, ` +
            'optionally with one of the flags - _ 0 ^ #',
        );
      }
      return written(value, flag, code);
    },
  );
}

function written(value: string, flag: string, code: string): string {
  const number = NUMBERS[code];
  if (number !== undefined) {
    const digits = number.trimStart();
    if (flag === '-') return digits;
    const padding = flag === '_' ? ' ' : flag === '0' || digits === number ? '0' : ' ';
    return digits.padStart(code === 'j' ? 3 : 2, padding);
  }
  // P is lower case by definition.
  if (flag === '^') return code === 'P' ? value : value.toUpperCase();
  if (flag === '#') return code === 'p' ? 'am' : 'aAbBh'.includes(code) ? value.toUpperCase() : value;
  return value;
}
