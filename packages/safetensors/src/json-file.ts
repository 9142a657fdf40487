import { SafetensorsError } from './error.ts';
import { fs } from './node.ts';

/** Most bytes of a file beside the weights, such as config.json; published ones have some thousand. */
const MAX_BYTES = 4 * 2 ** 20;

/**
 * Reads a small JSON file that somebody else wrote, such as config.json, within a second or not at all.
 *
 * @param maxBytes largest file that is read; 4 MiB unless given
 * @throws SafetensorsError for what is too large, no plain file (a pipe would be waited for, a device never ends) or not
 *   JSON; the system's error where it cannot be read
 */
export function readJsonFile(path: string, maxBytes = MAX_BYTES): unknown {
  const found = fs.statSync(path);
  if (!found.isFile()) throw unreadable(path, 'no plain file');
  if (found.size > maxBytes) throw unreadable(path, `got ${found.size} bytes, expected at most ${maxBytes}`);
  const text = fs.readFileSync(path, 'utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadable(path, (cause as Error).message, { cause });
  }
}

function unreadable(path: string, reason: string, options?: ErrorOptions): SafetensorsError {
  return new SafetensorsError(`${path}: cannot be read as JSON: ${reason}`, options);
}
