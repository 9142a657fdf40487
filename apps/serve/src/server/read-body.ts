/** Bytes of a request to fields of an endpoint. */
import type { z } from 'zod';
import { ApiError } from './api-error.ts';
import { parseFields } from './request-fields.ts';

/** Deepest nesting of a body; the endpoints' own is 5. */
const MAX_DEPTH = 64;

/**
 * Parses and checks a body.
 *
 * @throws ApiError 400, naming the field where it is one's fault
 */
export function readBody<T extends z.ZodType>(schema: T, body: Uint8Array): z.output<T> {
  requireShallow(body);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'its bytes are not UTF-8';
    throw new ApiError(400, `body: not JSON: ${reason}`, { code: 'invalid_json' });
  }
  return parseFields(schema, value);
}

/** What reads a value may recurse, and its stack is finite. */
function requireShallow(body: Uint8Array): void {
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
        throw new ApiError(
          400,
          `body: got lists and objects nested deeper than ${MAX_DEPTH}, expected fewer`,
          {
            code: 'invalid_json',
          },
        );
      }
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
}
