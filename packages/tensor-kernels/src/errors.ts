/** A backend that cannot run here. */
export class BackendError extends Error {
  override name = 'BackendError';
}
