import { DatasetError } from './errors.ts';
import { resolveFiles } from './files.ts';

/** Records read from each file: a problem of a file nearly always shows in its first records. */
const FIRST_RECORDS = 100;

/**
 * Checks the first records of each file and returns all problems: one line for each pattern that matches no file and
 * for each file that cannot be read.
 *
 * @param files paths and globs; see `readDocuments`
 * @param read reads one file and throws its problem, as `readDocuments` and `readRecords` do
 * @param isProblem whether an error is about the file; a DatasetError always is
 */
export async function findFileProblems(
  files: string | readonly string[],
  read: (path: string) => AsyncIterable<unknown>,
  isProblem: (error: unknown) => boolean = () => false,
): Promise<string[]> {
  const problems = new Set<string>();
  const attempt = async <T>(action: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof DatasetError || isProblem(error))) throw error;
      problems.add((error as Error).message);
      return undefined;
    }
  };
  for (const pattern of typeof files === 'string' ? [files] : files) {
    for (const { path } of (await attempt(() => resolveFiles(pattern))) ?? []) {
      await attempt(async () => {
        let count = 0;
        for await (const _ of read(path)) if (++count === FIRST_RECORDS) break;
      });
    }
  }
  return [...problems];
}
