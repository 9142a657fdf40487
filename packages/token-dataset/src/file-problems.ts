import { DatasetError } from './errors.ts';
import { resolveFiles } from './files.ts';

/** Records of each file that are read: what is wrong with a file is nearly always wrong with its first ones. */
const FIRST_RECORDS = 100;

/**
 * What is wrong with files, found out from the first records of each: a line for each pattern that names no file and
 * for each file that cannot be read. One problem does not hide the next.
 *
 * @param files paths and globs; see `readDocuments`
 * @param read reads one file and throws what is wrong with it, as `readDocuments` and `readRecords` do
 * @param isProblem which errors are about the file; a DatasetError always is
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
