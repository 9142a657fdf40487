/** Built-in recipes, found by name in a program's package or, in a clone, in `recipes/PROGRAM`. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { packageFolder } from '@meap/files';
import leven from 'leven';
import { ConfigurationError } from './errors.ts';
import { show } from './parse-config.ts';

/** Location of a program's built-in recipes. */
export interface ShippedRecipes {
  /** `import.meta.url` of a module of the package, which has a folder `recipes`. */
  moduleUrl: string;
  /** Folder below `recipes` of a clone: `pretrain`, `finetune`, `evaluate`. */
  program: string;
}

/** The file of a recipe. */
export interface RecipeLocation {
  file: string;
  /** Whether it is built-in. */
  isShipped: boolean;
}

/** Returns the name of a recipe from its name or file. */
export function recipeName(config: string): string {
  // A name may have a dot: 1.1b-20k-steps.
  return basename(config).replace(/\.(ya?ml|json)$/i, '');
}

/**
 * Finds a recipe: a file of that name; for a name without a folder also NAME.yaml, then the built-in recipe.
 *
 * @param directory base of relative paths
 * @param extending the recipe that extends it; never found itself
 * @throws ConfigurationError if there is neither a file nor a built-in recipe
 */
export function findRecipe(
  recipe: string,
  directory: string,
  shipped: ShippedRecipes | undefined,
  extending?: string,
): RecipeLocation {
  const file = resolve(directory, recipe);
  if (!shipped || /[\\/]/.test(recipe)) return { file, isShipped: false };
  const own = [file, `${file}.yaml`].find((path) => path !== extending && isFile(path));
  if (own !== undefined) return { file: own, isShipped: false };
  const folder = shippedFolder(shipped);
  const names = shippedNames(folder);
  const name = recipeName(recipe);
  if (names.includes(name)) return { file: join(folder, `${name}.yaml`), isShipped: true };
  // A recipe that extends itself is refused as circular.
  if (extending === file) return { file, isShipped: false };
  const wanted = extending === undefined ? '--config' : `${extending}: extends`;
  names.sort((a, b) => leven(name, a) - leven(name, b));
  throw new ConfigurationError([
    `${wanted}: got ${show(recipe)}, neither a file in ${directory} nor a built-in recipe; ` +
      `expected the path of a recipe, or one of ${names.join(', ')}`,
  ]);
}

/** Whether a path is a file, pipe or device, such as `<(…)` of a shell. */
function isFile(path: string): boolean {
  try {
    return !statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Prefers the package's own folder: next to an installed package, `recipes` may be anything. */
function shippedFolder({ moduleUrl, program }: ShippedRecipes): string {
  const folder = packageFolder(moduleUrl);
  const own = join(folder, 'recipes');
  return existsSync(own) ? own : join(folder, '../../recipes', program);
}

function shippedNames(folder: string): string[] {
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.yaml')) : [];
  return files.map(recipeName).sort();
}

/**
 * Returns the base of the paths in a recipe. In a built-in recipe, `../../data` is `data` in the working directory, as in
 * the root of a clone: users do not know the package's folder.
 */
export function pathsFolder(
  { file, isShipped }: RecipeLocation,
  shipped: ShippedRecipes | undefined,
): string {
  return isShipped && shipped ? resolve('recipes', shipped.program) : dirname(file);
}
