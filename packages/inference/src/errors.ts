/** A folder that is not a model, or a request that the model cannot process. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}
