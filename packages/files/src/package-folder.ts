import { fs, paths, urls } from './node.ts';

/**
 * Returns the folder of the package that a module belongs to, wherever a build has put the module.
 *
 * @param moduleUrl `import.meta.url` of the module
 * @throws Error if no folder above the module has a package.json
 */
export function packageFolder(moduleUrl: string): string {
  for (let folder = paths.dirname(urls.fileURLToPath(moduleUrl)); ; folder = paths.dirname(folder)) {
    if (fs.existsSync(paths.join(folder, 'package.json'))) return folder;
    if (folder === paths.dirname(folder)) {
      throw new Error(`no package.json in a folder above ${moduleUrl}; reinstall the package`);
    }
  }
}
