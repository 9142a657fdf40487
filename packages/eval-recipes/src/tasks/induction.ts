/** Induction on repeated random tokens (Olsson et al. 2022). */
import { inductionTask } from '@meap/evals';
import { count, length } from '@meap/recipe-cli';
import { z } from 'zod';
import { taskFamily } from './task-family.ts';

const settings = z.strictObject({
  length: length('Tokens of the sequence that is repeated.').default(25),
  sequences: count('Number of sequences.').default(32),
});

export const induction = taskFamily({
  data: {},
  settings: settings.describe('Induction on repeated random tokens.'),
  tasks: {
    induction: {
      description: 'how much more probable random tokens are when they are repeated',
      data: [],
      make: async ({ settings: { length, sequences: numSequences }, seed }) =>
        inductionTask({ length, numSequences, seed }),
    },
  },
  title: (task) => (task === 'induction' ? 'Induction' : undefined),
});
