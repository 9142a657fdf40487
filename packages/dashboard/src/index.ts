export { type DashboardOptions, parsePort, startDashboard, startDashboardThread } from './dashboard.ts';
export { DashboardError } from './errors.ts';
export { parsePlainYaml, requireFewValues, requirePlainYaml } from './plain-yaml.ts';
export type { Dashboard } from './server.ts';
export { bytes, counted, duration, flop, grouped, percent, plainText, short } from './shared/format.ts';
export type { BatchPiece, BatchRow, RecentBatch } from './shared/protocol.ts';
