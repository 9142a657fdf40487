export { type ChatIo, chatCommand } from './chat-command.ts';
export { convertCommand } from './convert-command.ts';
export { isUserError } from './errors.ts';
export { hubCommand } from './hub-command.ts';
export { sampleCommand } from './sample-command.ts';
export { serveCommand } from './serve-command.ts';
