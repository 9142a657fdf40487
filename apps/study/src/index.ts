export { studyCommand } from './command.ts';
export { configJsonSchema } from './config.ts';
export { isUserError } from './errors.ts';
