import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { readRecipe } from './read-recipe.ts';
import { recipeName } from './shipped-recipes.ts';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'shipped-recipes-')));
const program = join(root, 'node_modules/@meap/program');
const current = join(root, 'current');
const moduleUrl = pathToFileURL(join(program, 'dist/config.js')).href;
const rules = { paths: [['data', 'files'], ['cache']], shipped: { moduleUrl, program: 'program' } };

function write(folder: string, name: string, content: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), content);
}
const ship = (folder: string, name: string, content: string) => write(folder, `${name}.yaml`, content);

beforeAll(() => {
  write(program, 'package.json', '{}');
  const folder = join(program, 'recipes');
  ship(folder, 'base', 'data: {files: [../../a.txt]}\ncache: ../../cache\n');
  ship(folder, 'meap-1.1b', 'extends: ./base.yaml\nsteps: 1\n');
  // What another package is called says nothing of recipes.
  ship(join(root, 'node_modules/recipes'), 'stranger', 'steps: 3\n');
  mkdirSync(join(current, 'base'), { recursive: true });
  vi.spyOn(process, 'cwd').mockReturnValue(current);
});
afterEach(() => {
  for (const file of ['meap-1.1b', 'meap-1.1b.yaml', 'own.yaml'])
    rmSync(join(current, file), { force: true });
});
afterAll(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true });
});

const found = { data: { files: [join(current, 'a.txt')] }, cache: join(current, 'cache') };

describe('a built-in recipe', () => {
  it.each(['meap-1.1b', 'meap-1.1b.yaml'])(
    'is found as %s, its paths and those it extends in the current directory',
    (name) => {
      expect(readRecipe(name, [], rules)).toEqual({ ...found, steps: 1 });
    },
  );

  it('is not hidden by a folder of its name', () => {
    expect(readRecipe('base', [], rules)).toEqual(found);
  });

  it.each([
    ['meap-1.1b', 'meap-1.1b'],
    ['meap-1.1b', 'meap-1.1b.yaml'],
    ['meap-1.1b.yaml', 'meap-1.1b.yaml'],
  ])('gives way: %s is the file %s of the current directory', (name, file) => {
    write(current, file, 'data: {files: [b.txt]}\nsteps: 9\n');
    expect(readRecipe(name, [], rules)).toEqual({ data: { files: [join(current, 'b.txt')] }, steps: 9 });
  });

  it('can be extended by name, also by a recipe of the same name', () => {
    write(join(root, 'elsewhere'), 'own.yaml', 'extends: meap-1.1b\ndata: {files: [b.txt]}\n');
    const expected = { data: { files: [join(root, 'elsewhere/b.txt')] }, cache: found.cache, steps: 1 };
    expect(readRecipe('../elsewhere/own.yaml', [], rules)).toEqual(expected);
    write(current, 'meap-1.1b.yaml', 'extends: meap-1.1b.yaml\nsteps: 9\n');
    expect(readRecipe('meap-1.1b', [], rules)).toEqual({ ...found, steps: 9 });
    write(current, 'own.yaml', 'extends: own.yaml\n');
    expect(() => readRecipe('own.yaml', [], rules)).toThrow(/circular/);
  });

  it.each(['meap-1.2b', 'stranger', '', '..', 'a\0b'])(
    'is not found as %j, and the error lists all',
    (name) => {
      expect(() => readRecipe(name, [], rules)).toThrow(/--config: got .* expected .* one of .*base/);
    },
  );

  it('is named first if its name is the closest', () => {
    expect(() => readRecipe('meap-11b.yaml', [], rules)).toThrow(/one of meap-1\.1b, base$/);
    write(current, 'own.yaml', 'extends: bse\n');
    expect(() => readRecipe('own.yaml', [], rules)).toThrow(/own\.yaml: extends: got "bse".*one of base, /);
  });

  it('is not searched for a path with a folder', () => {
    expect(() => readRecipe('./base', [], rules)).toThrow(/current\/base: cannot be read/);
    expect(() => readRecipe('recipes/base.yaml', [], rules)).toThrow(/recipes\/base.yaml: cannot be read/);
  });

  it('is found in a clone if the package has no copy', () => {
    const clone = pathToFileURL(join(root, 'clone/apps/program/src/config.ts')).href;
    write(join(root, 'clone/apps/program'), 'package.json', '{}');
    ship(join(root, 'clone/recipes/program'), 'cloned', 'steps: 4\n');
    ship(join(root, 'clone/recipes/other'), 'of-another-program', 'steps: 5\n');
    const shipped = { moduleUrl: clone, program: 'program' };
    expect(readRecipe('cloned', [], { ...rules, shipped })).toEqual({ steps: 4 });
    expect(() => readRecipe('of-another-program', [], { ...rules, shipped })).toThrow(/one of cloned$/);
  });
});

it('the name of a recipe keeps its dots', () => {
  expect(['ratio-0.05', 'a/ratio-0.10.yaml', 'b.YML', '/dev/fd/63'].map(recipeName)).toEqual([
    'ratio-0.05',
    'ratio-0.10',
    'b',
    '63',
  ]);
});
