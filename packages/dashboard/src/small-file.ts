import { openPlain, readAt } from './line-tail.ts';

/** Maximum size of files that are read whole. */
const MAX_FILE_BYTES = 1 << 20;

/** Returns the text of a file; undefined if it is missing, not a plain file, or too large. */
export async function readSmallFile(path: string): Promise<string | undefined> {
  const file = await openPlain(path);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    return size > MAX_FILE_BYTES ? undefined : (await readAt(file, 0, size)).toString('utf8');
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}
