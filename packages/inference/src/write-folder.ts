import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { makeDirectory } from '@meap/files';
import { ModelError, writeError } from './errors.ts';

export function writeJson(path: string, value: object): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Fills a new folder under a temporary name; it gets its name when complete. */
export async function writeFolder(
  directory: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new ModelError(`${directory}: not empty, expected a missing or an empty folder`);
  }
  const temporary = `${directory}.${crypto.randomUUID()}.tmp`;
  try {
    makeDirectory(temporary);
    await fill(temporary);
    rmSync(directory, { recursive: true, force: true });
    renameSync(temporary, directory);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw writeError(directory, error);
  }
}
