import { fs, paths } from './node.ts';
import { packageFolder } from './package-folder.ts';

/**
 * Returns the path of a built file of the calling module's package, such as `encode-worker.js` in `dist`, or undefined
 * where a bundler left it out.
 *
 * @param moduleUrl `import.meta.url` of the caller
 */
export function findWorker(name: string, moduleUrl: string): string | undefined {
  const path = paths.join(packageFolder(moduleUrl), 'dist', name);
  return fs.existsSync(path) ? path : undefined;
}
