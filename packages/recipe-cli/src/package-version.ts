import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '@meap/files';

/**
 * Returns the version of the package of a module, given its `import.meta.url`.
 *
 * @throws Error if no folder above the module has a package.json
 */
export function packageVersion(moduleUrl: string): string {
  return JSON.parse(readFileSync(join(packageFolder(moduleUrl), 'package.json'), 'utf8')).version;
}
