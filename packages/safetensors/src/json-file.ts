import { SafetensorsError } from './error.ts';
import { fs } from './node.ts';

/** Largest file read by default; published files such as config.json have a few thousand bytes. */
const MAX_BYTES = 4 * 2 ** 20;

/**
 * Reads a small JSON file of unknown origin, such as config.json.
 *
 * @param maxBytes largest file to read; 4 MiB by default
 * @throws SafetensorsError if the file is too large, not a regular file (a pipe may block, a device never ends) or not
 *   JSON; the system's error if it cannot be read
 */
export function readJsonFile(path: string, maxBytes = MAX_BYTES): unknown {
  const found = fs.statSync(path);
  if (!found.isFile()) throw unreadable(path, 'not a regular file');
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
