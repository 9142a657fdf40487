/** A model that cannot be used: its folder is not one of a model, or a request does not fit it. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}
