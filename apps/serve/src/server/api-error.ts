/** An error in the format of OpenAI's API. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  /** The invalid field of the request. */
  readonly param: string | null;
  /** A machine-readable code such as `context_length_exceeded`. */
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

/** Returns a 400 about a field of the request. */
export function invalidField(param: string, problem: string, code?: string): ApiError {
  return new ApiError(400, `${param}: ${problem}`, { param, code });
}

/** Returns a 404 for a model that is not served. */
export function modelNotFound(got: string, names: readonly string[], param?: string): ApiError {
  const expected = names.map((name) => `'${name}'`).join(' or ');
  return new ApiError(404, `model: not found, got '${got.slice(0, 200)}', expected ${expected}`, {
    param,
    code: 'model_not_found',
  });
}

/** Returns the error of requests during shutdown. */
export function shuttingDown(): ApiError {
  return new ApiError(503, 'the server is shutting down', { code: 'shutting_down' });
}
