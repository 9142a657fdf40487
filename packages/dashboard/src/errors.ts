/** A dashboard that cannot be started. */
export class DashboardError extends Error {
  override name = 'DashboardError';
}
