import { EndpointError, EvalsError } from '@meap/evals';
import { modelErrors } from '@meap/inference';
import { userErrorTest } from '@meap/recipe-cli';

/** Whether an error is shown to the user as one line, without a stack. */
export const isUserError = userErrorTest([...modelErrors, EvalsError, EndpointError]);
