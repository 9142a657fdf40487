import { existsSync, readFileSync } from 'node:fs';

/**
 * Returns the version of the package of a module, given its `import.meta.url`.
 *
 * @throws Error if no folder above the module has a package.json
 */
export function packageVersion(moduleUrl: string): string {
  for (let folder = new URL('.', moduleUrl); ; folder = new URL('..', folder)) {
    const file = new URL('package.json', folder);
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')).version;
    if (folder.pathname === new URL('..', folder).pathname) {
      throw new Error(`no package.json in a folder above ${moduleUrl}; reinstall the package`);
    }
  }
}
