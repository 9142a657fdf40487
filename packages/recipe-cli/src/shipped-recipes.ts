/** Recipes that come with a program, found by name in its package or, in a clone, in `recipes/PROGRAM`. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import leven from 'leven';
import { ConfigurationError } from './errors.ts';
import { show } from './parse-config.ts';

/** Which recipes come with a program. */
export interface ShippedRecipes {
  /** `import.meta.url` of a module one folder below the package's own, in which `recipes` is. */
  moduleUrl: string;
  /** Their folder below `recipes` of a clone: `pretrain`, `finetune`, `evaluate`. */
  program: string;
}

/** Where a recipe is. */
export interface RecipePlace {
  file: string;
  /** Found by name among those that come with the program. */
  isShipped: boolean;
}

/** The name of a recipe, given its name or its file. */
export function recipeName(config: string): string {
  // A name may have a dot: 1.1b-20k-steps.
  return basename(config).replace(/\.(ya?ml|json)$/i, '');
}

/**
 * Where a recipe is: the file, whatever it is called; for a name without a folder else NAME.yaml beside it, else the
 * recipe of that name that comes with the program.
 *
 * @param directory that which a relative path is relative to
 * @param extending the recipe that asks for it, which is not meant where another has its name
 * @throws ConfigurationError for a name that neither file nor shipped recipe has
 */
export function findRecipe(
  recipe: string,
  directory: string,
  shipped: ShippedRecipes | undefined,
  extending?: string,
): RecipePlace {
  const file = resolve(directory, recipe);
  if (!shipped || /[\\/]/.test(recipe)) return { file, isShipped: false };
  const own = [file, `${file}.yaml`].find((path) => path !== extending && isFile(path));
  if (own !== undefined) return { file: own, isShipped: false };
  const folder = shippedFolder(shipped);
  const names = shippedNames(folder);
  const name = recipeName(recipe);
  if (names.includes(name)) return { file: join(folder, `${name}.yaml`), isShipped: true };
  // To extend itself is refused by its own name.
  if (extending === file) return { file, isShipped: false };
  const wanted = extending === undefined ? '--config' : `${extending}: extends`;
  names.sort((a, b) => leven(name, a) - leven(name, b));
  throw new ConfigurationError([
    `${wanted}: got ${show(recipe)}, which is no file in ${directory} and no recipe of this program; ` +
      `expected the path of a recipe, or one of ${names.join(', ')}`,
  ]);
}

/** Pipes and devices too, which `<(…)` of a shell is. */
function isFile(path: string): boolean {
  try {
    return !statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** The package's own folder comes first: beside installed packages anything may be called recipes. */
function shippedFolder({ moduleUrl, program }: ShippedRecipes): string {
  const own = fileURLToPath(new URL('../recipes', moduleUrl));
  return existsSync(own) ? own : fileURLToPath(new URL(`../../../recipes/${program}`, moduleUrl));
}

function shippedNames(folder: string): string[] {
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.yaml')) : [];
  return files.map(recipeName).sort();
}

/**
 * What the paths in a recipe are relative to. In a shipped recipe `../../data` means `data` in the working directory, as
 * in a clone whose root that is: users do not know the package's folder.
 */
export function pathsFolder({ file, isShipped }: RecipePlace, shipped: ShippedRecipes | undefined): string {
  return isShipped && shipped ? resolve('recipes', shipped.program) : dirname(file);
}
