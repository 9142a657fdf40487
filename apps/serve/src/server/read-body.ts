/** Parses a request body. */
import type { z } from 'zod';
import { ApiError } from './api-error.ts';
import { parseFields } from './request-fields.ts';

/** Maximum nesting of a body; valid requests have at most 5 levels. */
const MAX_DEPTH = 64;

/**
 * Parses and checks a body.
 *
 * @throws ApiError 400 with the name of the invalid field
 */
export function readBody<T extends z.ZodType>(schema: T, body: Uint8Array): z.output<T> {
  requireBoundedDepth(body);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'invalid UTF-8';
    throw new ApiError(400, `body: invalid JSON: ${reason}`, { code: 'invalid_json' });
  }
  return parseFields(schema, value);
}

/** Limits the nesting before parsing, since parsers recurse. */
function requireBoundedDepth(body: Uint8Array): void {
  const [QUOTE, BACKSLASH, OPEN_LIST, OPEN_OBJECT] = Buffer.from('"\\[{');
  const [CLOSE_LIST, CLOSE_OBJECT] = Buffer.from(']}');
  let depth = 0;
  let isText = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (byte === QUOTE) isText = !isText;
    else if (isText) {
      if (byte === BACKSLASH) at++;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      depth++;
      if (depth > MAX_DEPTH) {
        throw new ApiError(400, `body: got more than ${MAX_DEPTH} levels of nesting, expected fewer`, {
          code: 'invalid_json',
        });
      }
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
}
