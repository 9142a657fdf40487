import { InvalidArgumentError } from 'commander';

/** Returns a parser of command-line values that accepts whole numbers from `min`. */
export function wholeNumber(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isSafeInteger(value) && value >= min) return value;
    throw new InvalidArgumentError(`got ${text}, expected a whole number from ${min}`);
  };
}
