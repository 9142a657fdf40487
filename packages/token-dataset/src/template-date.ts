/**
 * The fixed date that chat templates see: training data and prompts must not depend on when they are rendered.
 *
 * Friday 26 July 2024, 00:00, without a time zone, as Python's `datetime(2024, 7, 26).strftime` writes it on Linux in
 * the C locale. Llama's own templates default to this date.
 */

/** A text, or a number as [digits, width, padding]. */
type Value = string | readonly [digits: string, width: number, fill: '0' | ' '];

const two = (digits: string, fill: '0' | ' ' = '0') => [digits, 2, fill] as const;

const VALUES: Readonly<Record<string, Value>> = {
  a: 'Fri',
  A: 'Friday',
  b: 'Jul',
  B: 'July',
  c: 'Fri Jul 26 00:00:00 2024',
  C: '20',
  d: two('26'),
  D: '07/26/24',
  e: two('26', ' '),
  f: '000000',
  F: '2024-07-26',
  g: two('24'),
  G: '2024',
  h: 'Jul',
  H: two('0'),
  I: two('12'),
  j: ['208', 3, '0'],
  k: two('0', ' '),
  l: two('12', ' '),
  m: two('7'),
  M: two('0'),
  n: '\n',
  p: 'AM',
  P: 'am',
  r: '12:00:00 AM',
  R: '00:00',
  s: '1721952000',
  S: two('0'),
  t: '\t',
  T: '00:00:00',
  u: '5',
  U: two('29'),
  V: two('30'),
  w: '5',
  W: two('30'),
  x: '07/26/24',
  X: '00:00:00',
  y: two('24'),
  Y: '2024',
  z: '',
  Z: '',
  '%': '%',
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

function written(value: Value, flag: string, code: string): string {
  if (typeof value !== 'string') {
    const [digits, width, fill] = value;
    if (flag === '-') return digits;
    return digits.padStart(width, flag === '_' ? ' ' : flag === '0' ? '0' : fill);
  }
  // P is lower case by definition.
  if (flag === '^') return code === 'P' ? value : value.toUpperCase();
  if (flag === '#') return code === 'p' ? 'am' : 'aAbBh'.includes(code) ? value.toUpperCase() : value;
  return value;
}
