export { type DashboardOptions, startDashboard, startDashboardThread } from './dashboard.ts';
export { DashboardError } from './errors.ts';
export { parsePlainYaml, requireFewValues, requirePlainYaml } from './plain-yaml.ts';
export type { Dashboard } from './server.ts';
export type { BatchPiece, BatchRow, RecentBatch } from './shared/protocol.ts';
