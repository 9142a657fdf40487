import { existsSync, readFileSync } from 'node:fs';

/** The version of the package that a module belongs to; give `import.meta.url`. */
export function packageVersion(moduleUrl: string): string {
  let file = new URL('package.json', moduleUrl);
  while (!existsSync(file)) file = new URL('../package.json', file);
  return JSON.parse(readFileSync(file, 'utf8')).version;
}
