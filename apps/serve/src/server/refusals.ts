/** Sends errors of every layer in the format of OpenAI's API. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply } from 'fastify';
import { ApiError } from './api-error.ts';

/** Sends an error as the response. */
export function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const refusal = clientError(error) ?? asApiError(error);
  // Fastify closes the connection after refusing a body; a client that is still sending would not see the error.
  if (refusal.status !== 503) reply.removeHeader('connection');
  if (refusal.status === 401) reply.header('www-authenticate', 'Bearer');
  if (refusal.status === 429 || refusal.status === 503) reply.header('retry-after', '1');
  return reply.code(refusal.status).send(refusal.body);
}

/** Converts an error for the client; unexpected errors are logged and their details hidden. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  console.error(error);
  return new ApiError(500, 'internal error; the log of the server has the details', {
    code: 'internal_error',
  });
}

/** Converts Fastify's errors, such as for an invalid path. */
function clientError(error: unknown): ApiError | undefined {
  const { statusCode, code, message } = error as { statusCode?: number; code?: string; message?: string };
  if (error instanceof ApiError || statusCode === undefined || statusCode >= 500) return undefined;
  return new ApiError(statusCode, `${message}`.slice(0, 500), {
    code: code?.replace(/^FST_ERR_/, '').toLowerCase(),
  });
}

/** Responds to invalid HTTP or a timeout, and ends the connection. */
export function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const { status, body } = connectionError(error);
  const content = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(content)}`,
    'connection: close',
  ];
  // A client that is still sending would not see the response if the connection were reset.
  socket.end(`${head.join('\r\n')}\r\n\r\n${content}`);
  socket.resume();
}

function connectionError({ code, message }: NodeJS.ErrnoException): ApiError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError(431, 'headers: got more than 16 KiB, expected less', {
        code: 'headers_too_large',
      });
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError(408, 'request: incomplete after the timeout; send it again', { code: 'timeout' });
    default:
      return new ApiError(400, `request: invalid HTTP: ${message}`, { code: 'invalid_http' });
  }
}
