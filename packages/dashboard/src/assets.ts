/** The files of the page, read once: nothing else is ever served from the disk by name. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { DashboardError } from './errors.ts';

/** A file as it is sent. */
export interface Asset {
  type: string;
  body: Buffer;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};

/** The folder that `tsc` builds into, also for tests, which run the sources. */
export const builtFolder = import.meta.filename.endsWith('.ts')
  ? join(import.meta.dirname, '../dist')
  : import.meta.dirname;

/**
 * All files by the path they are asked for under, and the hash of the one script inside the page: its import map.
 *
 * @throws DashboardError where the package has not been built
 */
export function readAssets(): { files: ReadonlyMap<string, Asset>; scriptHash: string } {
  const files = new Map<string, Asset>();
  const add = (url: string, path: string) =>
    files.set(url, { type: TYPES[extname(path)], body: readFileSync(path) });
  const page = join(builtFolder, '../page');
  if (!existsSync(join(builtFolder, 'page/main.js'))) {
    throw new DashboardError(
      `dashboard: no page in ${builtFolder}, expected the built package: run pnpm build`,
    );
  }
  add('/', join(page, 'index.html'));
  add('/style.css', join(page, 'style.css'));
  for (const folder of ['page', 'shared']) {
    for (const name of readdirSync(join(builtFolder, folder))) {
      if (name.endsWith('.js')) add(`/${folder}/${name}`, join(builtFolder, folder, name));
    }
  }
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot'));
  add('/uplot.js', join(uplot, 'uPlot.esm.js'));
  add('/uplot.css', join(uplot, 'uPlot.min.css'));
  const [, script] = /<script type="importmap">(.*?)<\/script>/s.exec(files.get('/')!.body.toString())!;
  return { files, scriptHash: createHash('sha256').update(script).digest('base64') };
}
