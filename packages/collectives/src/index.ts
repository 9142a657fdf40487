export type { Collectives, Exchangeable, Summable } from './collectives.ts';
export { type ConnectOptions, connect, launchedRanks } from './connect.ts';
export { CollectivesError, CollectiveTimeoutError } from './errors.ts';
export { singleProcess } from './single-process.ts';
