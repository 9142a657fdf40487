export type { Collectives, Exchangeable, Summable } from './collectives.ts';
export { type ConnectOptions, connect, type Launched, launched } from './connect.ts';
export { CollectivesError, CollectiveTimeoutError } from './errors.ts';
export { singleProcess } from './single-process.ts';
