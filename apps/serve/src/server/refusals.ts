/** Refusals on their way to clients: every error of every layer has the shape of OpenAI's. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply } from 'fastify';
import { ApiError } from './api-error.ts';

/** Answers with an error. */
export function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const refusal = clientError(error) ?? asApiError(error);
  // Fastify closes a connection whose body was refused; its client, still sending, would not see why.
  if (refusal.status !== 503) reply.removeHeader('connection');
  if (refusal.status === 401) reply.header('www-authenticate', 'Bearer');
  if (refusal.status === 429 || refusal.status === 503) reply.header('retry-after', '1');
  return reply.code(refusal.status).send(refusal.body);
}

/** What a client is told of an error. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  console.error(error);
  return new ApiError(500, 'the server failed at this request; its log has the details', {
    code: 'internal_error',
  });
}

/** Fastify's own refusals: a body that is no JSON, a path that is none. */
function clientError(error: unknown): ApiError | undefined {
  const { statusCode, code, message } = error as { statusCode?: number; code?: string; message?: string };
  if (error instanceof ApiError || statusCode === undefined || statusCode >= 500) return undefined;
  return new ApiError(statusCode, `${message}`.slice(0, 500), {
    code: code?.replace(/^FST_ERR_/, '').toLowerCase(),
  });
}

/** Answers what is no request that HTTP knows, or came too slowly, and ends the connection. */
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
  // A client that sent too much may still be sending, and would not see the answer if the connection were reset.
  socket.end(`${head.join('\r\n')}\r\n\r\n${content}`);
  socket.resume();
}

function connectionError({ code, message }: NodeJS.ErrnoException): ApiError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError(431, 'headers: got more than 16 KiB, expected fewer', {
        code: 'headers_too_large',
      });
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError(408, 'request: did not come whole in time; send it again', { code: 'timeout' });
    default:
      return new ApiError(400, `request: not HTTP: ${message}`, { code: 'invalid_http' });
  }
}
