import { fs, urls } from './node.ts';

/**
 * Returns the path of a built file beside the calling module, such as `./encode-worker.js`, or undefined where a bundler
 * left it out. Calls from sources, as in tests, get the file in `dist` that corresponds to the one in `src`.
 *
 * @param moduleUrl `import.meta.url` of the caller
 */
export function findWorker(name: string, moduleUrl: string): string | undefined {
  const beside = urls.fileURLToPath(new URL(name, moduleUrl));
  const built = beside.replace(/^(.*[\\/])src(?=[\\/])/, '$1dist');
  return [beside, built].find((path) => fs.existsSync(path));
}
