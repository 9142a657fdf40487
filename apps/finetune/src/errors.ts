import { modelErrors } from '@meap/inference';
import { userErrorTest } from '@meap/recipe-cli';
import { SftError } from '@meap/sft-duplication';

/** Unusable conversations: a record of the wrong form, or no conversations left to train on. */
export class ChatDataError extends Error {
  override readonly name = 'ChatDataError';
}

/** Whether an error is shown to the user as one line, without a stack. */
export const isUserError = userErrorTest([...modelErrors, ChatDataError, SftError]);
