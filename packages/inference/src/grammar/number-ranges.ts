/** Numbers between bounds, as JSON. */
import { choice, type Expression, GrammarError, optional, repeat, sequence } from './grammar.ts';
import { fraction, MAX_DIGITS } from './json-grammar.ts';

/** Bounds of a number. */
export interface NumberBounds {
  readonly min?: number;
  readonly max?: number;
  /** Whether a bound itself is excluded. */
  readonly excludesMin: boolean;
  readonly excludesMax: boolean;
}

const LARGEST = 10 ** MAX_DIGITS - 1;
const digit: Expression = { bytes: [[0x30, 0x39]] };
const nonzero: Expression = { bytes: [[0x31, 0x39]] };

/** @throws GrammarError if there is no such integer of at most 15 digits */
export function integersBetween({ min, max, excludesMin, excludesMax }: NumberBounds): Expression {
  const low = min === undefined ? -LARGEST : excludesMin ? Math.floor(min) + 1 : Math.ceil(min);
  const high = max === undefined ? LARGEST : excludesMax ? Math.ceil(max) - 1 : Math.floor(max);
  const [from, to] = [Math.max(low, -LARGEST), Math.min(high, LARGEST)];
  if (from > to) throw noNumber(from, to);
  return choice(
    ...(from < 0 ? [sequence('-', naturals(Math.max(1, -to), -from))] : []),
    ...(to >= 0 ? [naturals(Math.max(0, from), to)] : []),
  );
}

/**
 * Numbers between whole bounds, without exponent.
 *
 * @throws GrammarError if there is none
 */
export function numbersBetween({ min = -LARGEST, max = LARGEST, ...rest }: NumberBounds): Expression {
  const low = { value: Math.max(min, -LARGEST), isExcluded: rest.excludesMin && min >= -LARGEST };
  const high = { value: Math.min(max, LARGEST), isExcluded: rest.excludesMax && max <= LARGEST };
  if (low.value > high.value || (low.value === high.value && (low.isExcluded || high.isExcluded))) {
    throw noNumber(min, max);
  }
  const zero = { value: 0, isExcluded: low.value === 0 && low.isExcluded };
  const opposite = ({ value, isExcluded }: Bound) => ({ value: -value, isExcluded });
  const options: Expression[] = [];
  if (low.value < 0) {
    const negative = magnitudes(
      high.value < 0 ? opposite(high) : { value: 0, isExcluded: false },
      opposite(low),
    );
    options.push(...negative.map((magnitude) => sequence('-', magnitude)));
  }
  if (high.value >= 0) options.push(...magnitudes(low.value > 0 ? low : zero, high));
  if (options.length === 0) throw noNumber(min, max);
  return choice(...options);
}

interface Bound {
  readonly value: number;
  readonly isExcluded: boolean;
}

/** Numbers from one whole bound to another, neither negative. */
function magnitudes(low: Bound, high: Bound): Expression[] {
  // Numbers of 15 digits are distinct as doubles, so that none rounds to an excluded bound.
  const exactDigits = ({ value }: Bound) => MAX_DIGITS - `${value}`.length;
  const numDigits = high.isExcluded ? exactDigits(high) : MAX_DIGITS;
  const withFraction = (of: Expression) => (numDigits > 0 ? sequence(of, optional(fraction(numDigits))) : of);
  const options: Expression[] = [];
  if (low.isExcluded && low.value < high.value) {
    const digits = Math.min(exactDigits(low), numDigits);
    if (digits > 0) options.push(sequence(`${low.value}.`, repeat(digit, 0, digits - 1), nonzero));
  }
  const first = low.isExcluded ? low.value + 1 : low.value;
  if (first < high.value) options.push(withFraction(naturals(first, high.value - 1)));
  if (!high.isExcluded && first <= high.value) options.push(naturals(high.value, high.value));
  return options;
}

/** Integers between bounds that are not negative. */
function naturals(from: number, to: number): Expression {
  const options: Expression[] = [];
  for (let length = `${from}`.length; length <= `${to}`.length; length++) {
    const low = Math.max(from, length === 1 ? 0 : 10 ** (length - 1));
    options.push(sameLength(`${low}`, `${Math.min(to, 10 ** length - 1)}`));
  }
  return choice(...options);
}

/** Digits from one number to another of the same length. */
function sameLength(from: string, to: string): Expression {
  if (from === '') return sequence();
  const rest = from.length - 1;
  if (/^0*$/.test(from) && /^9*$/.test(to)) return repeat(digit, from.length, from.length);
  if (from[0] === to[0]) return sequence(from[0], sameLength(from.slice(1), to.slice(1)));
  const [low, high] = [from.charCodeAt(0), to.charCodeAt(0)];
  return choice(
    sequence(from[0], sameLength(from.slice(1), '9'.repeat(rest))),
    ...(high - low > 1 ? [sequence({ bytes: [[low + 1, high - 1]] }, repeat(digit, rest, rest))] : []),
    sequence(to[0], sameLength('0'.repeat(rest), to.slice(1))),
  );
}

function noNumber(min: number, max: number): GrammarError {
  return new GrammarError(
    `no number of at most ${MAX_DIGITS} digits is between ${min} and ${max}, expected one; widen the bounds`,
  );
}
