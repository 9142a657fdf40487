/** Setting types shared by several tasks. */
import { count } from '@meap/recipe-cli';
import { z } from 'zod';

export const counts = (meaning: string) =>
  z.array(count('A number.'), 'a list of whole numbers above 0').min(1, 'at least one').describe(meaning);

export const depths = (meaning: string) =>
  z
    .array(z.number('a number from 0 to 100').min(0, 'from 0').max(100, 'to 100'), 'a list of percentages')
    .min(1, 'at least one')
    .describe(meaning);

const ANY_LIMIT = 'a whole number above 0, or a fraction below 1';

/** As `limit` of `selectRows`. */
export const questionLimit = () =>
  z
    .number(ANY_LIMIT)
    .positive(ANY_LIMIT)
    .refine((value) => value < 1 || Number.isInteger(value), ANY_LIMIT)
    .describe(
      'Evaluate only the first questions of each task, or that fraction of them; a grid asks each in all of its cells.',
    );

export const maxNewTokens = (published: number) =>
  count('Maximum tokens of an answer; default: as published.').default(published);
