/** Configuration keys as zod schemas whose messages name the allowed values. */
import { z } from 'zod';

const ANY_COUNT = 'a whole number above 0';
const ANY_LENGTH = 'a whole number from 2';
const ANY_NATURAL = 'a whole number from 0';
const ANY_TEXT = 'text';

/** An integer from 1. */
export const count = (meaning: string) => z.int(ANY_COUNT).min(1, ANY_COUNT).describe(meaning);

/** Tokens of a row: an integer from 2, one token to read and one to predict. */
export const length = (meaning: string) => z.int(ANY_LENGTH).min(2, ANY_LENGTH).describe(meaning);

/** An integer from 0. */
export const natural = (meaning: string) => z.int(ANY_NATURAL).min(0, ANY_NATURAL).describe(meaning);

/** A number above 0. */
export const positive = (meaning: string) =>
  z.number('a number above 0').positive('a number above 0').describe(meaning);

/** A number from 0. */
export const nonNegative = (meaning: string) =>
  z.number('a number from 0').min(0, 'a number from 0').describe(meaning);

/** A number from 0 and below 1. */
export const share = (meaning: string, expected = 'a number from 0 and below 1') =>
  z.number(expected).min(0, expected).lt(1, expected).describe(meaning);

/** A number from 0 to 1. */
export const zeroToOne = (meaning: string, expected = 'a number from 0 to 1') =>
  z.number(expected).min(0, expected).max(1, expected).describe(meaning);

/** Non-empty text. */
export const text = (meaning: string) =>
  z.string(ANY_TEXT).min(1, 'text that is not empty').describe(meaning);

/** True or false. */
export const flag = (meaning: string) => z.boolean('true or false').describe(meaning);

/** One of some names. */
export const oneOf = <const T extends readonly [string, ...string[]]>(
  values: T,
  meaning: string,
  expected = `one of ${values.join(', ')}`,
) => z.enum(values, expected).describe(meaning);

/** A list of strings. */
export const texts = (meaning: string) =>
  z.array(z.string(ANY_TEXT), 'a list of texts, such as [a, b]').describe(meaning);

/** Returns the JSON Schema of a recipe, for editors. */
export function recipeJsonSchema(schema: z.ZodType, title: string): Record<string, unknown> {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  return { ...json, title };
}
