/** The dashboard cannot be started as asked; the message says what to do. */
export class DashboardError extends Error {
  override name = 'DashboardError';
}
