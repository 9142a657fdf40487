import { modelErrors } from '@meap/inference';
import { userErrorTest } from '@meap/recipe-cli';
import { SftError } from '@meap/sft-duplication';

/** Conversations that cannot be trained on: a record of the wrong form, or nothing left to learn from. */
export class ChatDataError extends Error {
  override readonly name = 'ChatDataError';
}

/** Whether an error is shown to the user as one line, without a stack. */
export const isUserError = userErrorTest([...modelErrors, ChatDataError, SftError]);
