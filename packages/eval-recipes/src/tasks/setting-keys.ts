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

export const maxNewTokens = (published: number) =>
  count('Maximum tokens of an answer; default: as published.').default(published);
