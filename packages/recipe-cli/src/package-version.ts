import { existsSync, readFileSync } from 'node:fs';

/** Returns the version of the package of a module, given its `import.meta.url`. */
export function packageVersion(moduleUrl: string): string {
  let file = new URL('package.json', moduleUrl);
  while (!existsSync(file)) file = new URL('../package.json', file);
  return JSON.parse(readFileSync(file, 'utf8')).version;
}
