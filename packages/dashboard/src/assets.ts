/** The files of the page, read once at start; no other file is served by name. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { DashboardError } from './errors.ts';

/** A file with its content type. */
export interface Asset {
  type: string;
  body: Buffer;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};

const folder = join(import.meta.dirname, '..');
/** The output folder of the build, also when tests run the sources. */
export const builtFolder = join(folder, 'dist');

/**
 * Returns all files by URL path, and the hash of the only inline script, the import map.
 *
 * @throws DashboardError if the package has not been built
 */
export function readAssets(): { files: ReadonlyMap<string, Asset>; scriptHash: string } {
  const files = new Map<string, Asset>();
  const add = (url: string, path: string) =>
    files.set(url, { type: TYPES[extname(path)], body: readFileSync(path) });
  const page = join(folder, 'page');
  const modules = join(builtFolder, 'modules');
  if (!existsSync(join(modules, 'page/main.js'))) {
    throw new DashboardError(
      `dashboard: no page in ${builtFolder}, expected the built package: run pnpm build`,
    );
  }
  add('/', join(page, 'index.html'));
  add('/style.css', join(page, 'style.css'));
  for (const folder of ['page', 'shared']) {
    for (const name of readdirSync(join(modules, folder))) {
      if (name.endsWith('.js')) add(`/${folder}/${name}`, join(modules, folder, name));
    }
  }
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot'));
  add('/uplot.js', join(uplot, 'uPlot.esm.js'));
  add('/uplot.css', join(uplot, 'uPlot.min.css'));
  const [, script] = /<script type="importmap">(.*?)<\/script>/s.exec(files.get('/')!.body.toString())!;
  return { files, scriptHash: createHash('sha256').update(script).digest('base64') };
}
