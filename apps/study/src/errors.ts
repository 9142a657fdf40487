import { EvalsError } from '@meap/evals';
import { userErrorTest } from '@meap/recipe-cli';

/** Whether an error is shown to the user as one line, without a stack. */
export const isUserError = userErrorTest([EvalsError]);
