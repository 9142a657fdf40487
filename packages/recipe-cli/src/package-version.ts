import { readFileSync } from 'node:fs';

/** The version of the package that a module stands in, one folder below its package.json; give `import.meta.url`. */
export function packageVersion(moduleUrl: string): string {
  return JSON.parse(readFileSync(new URL('../package.json', moduleUrl), 'utf8')).version;
}
