/** A refusal, as OpenAI's API words it. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status. */
  readonly status: number;
  /** Field of the request that is to blame. */
  readonly param: string | null;
  /** For programs: `context_length_exceeded`, `model_not_found`. */
  readonly code: string | null;

  constructor(
    status: number,
    message: string,
    { param = null, code = null }: { param?: string | null; code?: string | null } = {},
  ) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }

  /** The body of a response. */
  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { message, status, param, code } = this;
    return { error: { message, type: TYPES[status] ?? defaultType(status), param, code } };
  }
}

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
};

function defaultType(status: number): string {
  return status < 500 ? 'invalid_request_error' : 'server_error';
}
