/**
 * Copies a schema and the recipes that name it, none of which may extend another, from the root's folder into the package in the current folder,
 * for its tarball: `node ../../scripts/pack-recipes.mjs schema.json`, run by `prepack`.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [schema] = process.argv.slice(2);
const root = resolve(import.meta.dirname, '../recipes');
const text = (name) => readFileSync(join(root, name), 'utf8');
const names = readdirSync(root).filter(
  (name) => name.endsWith('.yaml') && text(name).split('\n', 1)[0].endsWith(`$schema=./${schema}`),
);
if (names.length === 0) throw new Error(`pack-recipes: no recipe in ${root} names ${schema}`);
for (const name of names) {
  const base = /^extends: *(?:\.\/)?(\S+)$/m.exec(text(name))?.[1];
  if (base !== undefined && !names.includes(base)) {
    throw new Error(`pack-recipes: ${name} extends ${base}, which is no recipe of ${schema}`);
  }
}
rmSync('recipes', { recursive: true, force: true });
mkdirSync('recipes');
for (const name of [schema, ...names]) copyFileSync(join(root, name), join('recipes', name));
