/** No file of a package or app imports, through other files, itself: not a value, and not a type. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { expect, it } from 'vitest';

const IMPORT =
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*'(\.[^']+)'|^\s*import\s*'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'/gm;

/** One shortest circle through each file that is in one; `texts` are sources by their path. */
function importCircles(texts: ReadonlyMap<string, string>): string[] {
  const imports = new Map(
    [...texts].map(([path, text]) => {
      const targets = [...text.matchAll(IMPORT)].map(([, ...names]) => names.find(Boolean)!);
      return [path, targets.map((target) => posix.join(posix.dirname(path), target))];
    }),
  );
  const circles = new Map<string, string>();
  for (const start of texts.keys()) {
    const queue = [[start]];
    const seen = new Set<string>();
    for (let route = queue.shift(); route; route = queue.shift()) {
      for (const next of imports.get(route.at(-1)!) ?? []) {
        if (next === start) {
          const key = [...route].sort().join();
          if (!circles.has(key)) circles.set(key, [...route, start].join(' → '));
          queue.length = 0;
          break;
        }
        if (seen.has(next)) continue;
        seen.add(next);
        queue.push([...route, next]);
      }
    }
  }
  return [...circles.values()];
}

it('finds circles by value, by type, through re-exports and dynamic imports', () => {
  const texts = new Map([
    ['a.ts', "import { b } from './b.ts';\nimport './side/effect.ts';"],
    ['b.ts', "import type {\n  C,\n} from './c.ts';"],
    ['c.ts', "export { a } from './a.ts';"],
    ['side/effect.ts', "const load = () => import('../side/effect.ts');"],
    ['leaf.ts', "import { a } from './a.ts'; // import './leaf.ts'"],
  ]);
  expect(importCircles(texts)).toEqual(['a.ts → b.ts → c.ts → a.ts', 'side/effect.ts → side/effect.ts']);
});

const root = join(import.meta.dirname, '../../..');
const sources = ['packages', 'apps']
  .flatMap((group) => readdirSync(join(root, group)).map((name) => `${group}/${name}`))
  .filter((folder) => existsSync(join(root, folder, 'src')));

it.each(sources)('%s has none', (folder) => {
  const src = join(root, folder, 'src');
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => /(?<!\.d)\.m?tsx?$/.test(path));
  expect(importCircles(new Map(files.map((path) => [path, readFileSync(join(src, path), 'utf8')])))).toEqual(
    [],
  );
});
