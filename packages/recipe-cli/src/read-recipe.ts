import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parsePlainYaml, plainText, requireFewValues, requirePlainYaml } from '@meap/dashboard';
import { isHubAddress, modelAddress } from '@meap/hub';
import { parseDocument } from 'yaml';
import { ConfigurationError, reasonOf } from './errors.ts';
import { show } from './parse-config.ts';
import { findRecipe, pathsFolder, type RecipeLocation, type ShippedRecipes } from './shipped-recipes.ts';

/** Keys and values of a YAML file. */
export type Layer = Record<string, unknown>;

/** Largest recipe; typical ones have a few hundred bytes. */
const MAX_BYTES = 2 ** 20;
/** Longest chain of `extends`; typical ones have three. */
const MAX_CHAIN = 16;
/** Most keys of an override's path. */
const MAX_KEYS = 16;

/** Rules for the keys of a program's recipes. */
export interface RecipeRules {
  /** Keys that hold file paths: `[section, key]` or deeper; `*` stands for any key. */
  paths: readonly (readonly string[])[];
  /**
   * What to fetch for the keys among `paths`, such as `model.path`, that also take a model of the Hub as `OWNER/NAME`.
   * Every path may be an address of the Hub, `hf://…`.
   */
  hub?: Readonly<Record<string, 'model' | 'tokenizer'>>;
  /** For the keys among `paths` that also take other names: which values are paths. */
  files?: Readonly<Record<string, RegExp>>;
  /**
   * Keys among `paths`, with their `*`, whose files of the Hub are fetched while they are read if the key `unless` is false:
   * their addresses stay, at a commit.
   */
  streamed?: { readonly unless: readonly [section: string, key: string]; readonly keys: readonly string[] };
  /** Mutually exclusive keys: a recipe that sets one removes the others that it inherits. */
  alternatives?: readonly (readonly [section: string, ...keys: string[]])[];
  /** Built-in recipes, found by name if there is no file of that name. */
  shipped?: ShippedRecipes;
}

/**
 * Reads a recipe with the recipes it extends and applies overrides. The result is not validated.
 *
 * A recipe overrides its base key by key; null removes an inherited key; lists are replaced. Paths are relative to their
 * file, in overrides to the working directory, in built-in recipes to `recipes/PROGRAM` there.
 *
 * @param file path of a recipe, or the name of one of `rules.shipped`
 * @param overrides `path.to.key=value` with a YAML value; later ones take precedence
 * @throws ConfigurationError for a file that cannot be read or is not YAML, for circular `extends`, for a malformed
 *   override, and for an address of the Hub: a command replaces them by paths before, with `fetchHubNames`
 */
export function readRecipe(file: string, overrides: readonly string[], rules: RecipeRules): Layer {
  const config = readNamedRecipe(file, overrides, rules);
  const addresses = pathsOf(config, rules).filter(
    (path) => path.values.some(isHubAddress) && !isStreamed(path, config, rules),
  );
  if (addresses.length === 0) return config;
  throw new ConfigurationError(
    addresses.map(
      ({ key, values }) =>
        `${key}: got ${show(values.find(isHubAddress))}, expected a path on this machine; a program calls ` +
        'fetchHubNames before and passes the overrides that it returns',
    ),
  );
}

/** Like {@link readRecipe}; keeps addresses of the Hub. */
export function readNamedRecipe(file: string, overrides: readonly string[], rules: RecipeRules): Layer {
  let config = readLayers(findRecipe(file, process.cwd(), rules.shipped), [], rules);
  for (const override of overrides) config = merge(config, parseOverride(override, rules), rules);
  return config;
}

function readLayers(location: RecipeLocation, derived: readonly string[], rules: RecipeRules): Layer {
  const { file, isShipped } = location;
  const shown = derived.length === 0 ? file : `${file} (extended by ${derived.at(-1)})`;
  if (derived.includes(file))
    throw new ConfigurationError([
      `${shown}: circular extends, expected recipes that do not extend each other`,
    ]);
  if (derived.length >= MAX_CHAIN) {
    throw new ConfigurationError([
      `${shown}: more than ${MAX_CHAIN} recipes in a chain of extends, expected fewer; merge some of them`,
    ]);
  }
  const layer = parseRecipe(readText(file, shown), shown);
  const directory = dirname(file);
  const { extends: base, ...own } = withAbsolutePaths(layer, pathsFolder(location, rules.shipped), rules);
  if (base === undefined) return own;
  if (typeof base !== 'string') {
    throw new ConfigurationError([`${shown}: extends: got ${show(base)}, expected the path of a recipe`]);
  }
  // A built-in recipe extends built-in recipes.
  const from = isShipped
    ? { file: resolve(directory, base), isShipped }
    : findRecipe(base, directory, rules.shipped, file);
  return merge(readLayers(from, [...derived, file], rules), own, rules);
}

/** Reads a file, pipe or device, such as `<(…)` of a shell, up to the size limit of recipes. */
function readText(file: string, shown: string): string {
  try {
    const handle = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(MAX_BYTES + 1);
      let end = 0;
      for (let read = -1; read !== 0 && end <= MAX_BYTES; end += read) {
        read = readSync(handle, bytes, end, bytes.length - end, null);
      }
      if (end > MAX_BYTES) throw new Error(`got more than ${MAX_BYTES} bytes, expected a recipe`);
      return bytes.toString('utf8', 0, end);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    throw new ConfigurationError([`${shown}: cannot be read: ${reasonOf(error)}`]);
  }
}

function parseRecipe(content: string, shown: string): Layer {
  const notYaml = (error: unknown) => `${shown}: not YAML: ${plainText(reasonOf(error)).slice(0, 500)}`;
  let layer: unknown;
  let errors: readonly unknown[] = [];
  try {
    requirePlainYaml(content);
    const document = parseDocument(content, { logLevel: 'error' });
    errors = document.errors.slice(0, 10);
    if (errors.length === 0) layer = document.toJS() ?? {};
    requireFewValues(layer);
  } catch (error) {
    // A missing anchor, exponential aliases, or nesting beyond the stack.
    errors = [error];
  }
  if (errors.length > 0) throw new ConfigurationError(errors.map(notYaml));
  if (isLayer(layer)) return layer;
  throw new ConfigurationError([`${shown}: got ${show(layer)}, expected keys with values`]);
}

function parseOverride(override: string, rules: RecipeRules): Layer {
  const at = override.indexOf('=');
  const keys = override.slice(0, at).split('.');
  const cut = override.length > 200 ? `${override.slice(0, 200)}…` : override;
  const shown = plainText(cut).replaceAll('\n', '␤');
  if (at < 1 || keys.includes('') || keys.length > MAX_KEYS) {
    throw new ConfigurationError([`--set ${shown}: expected path.to.key=value, such as train.max_steps=100`]);
  }
  let value: unknown;
  try {
    value = parsePlainYaml(override.slice(at + 1));
  } catch (error) {
    throw new ConfigurationError([
      `--set ${shown}: the value is not YAML: ${plainText(reasonOf(error)).slice(0, 500)}`,
    ]);
  }
  const layer = keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Layer;
  return withAbsolutePaths(layer, process.cwd(), rules);
}

/** Merges two layers into a new one. */
function merge(base: Layer, over: Layer, { alternatives: rules = [] }: RecipeRules): Layer {
  const merged = mergeKeys(base, over);
  for (const [section, ...alternatives] of rules) {
    const given = over[section];
    const result = merged[section];
    if (!isLayer(given) || !isLayer(result)) continue;
    const [chosen, ...others] = alternatives.filter((key) => given[key] != null);
    if (chosen === undefined || others.length > 0) continue;
    for (const key of alternatives) if (key !== chosen) delete result[key];
  }
  return merged;
}

function mergeKeys(base: Layer, over: Layer): Layer {
  const merged: Layer = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const inherited = Object.hasOwn(base, key) ? base[key] : undefined;
    // Without an inherited key, null stays: the schema then refuses unknown keys.
    if (value === null && Object.hasOwn(base, key)) delete merged[key];
    else define(merged, key, isLayer(value) ? mergeKeys(isLayer(inherited) ? inherited : {}, value) : value);
  }
  return merged;
}

/** The values of keys that hold paths: one or a list. */
interface PathValue {
  /** The key with dots. */
  key: string;
  /** The entry of `paths` with dots. */
  rule: string;
  values: string[];
  isList: boolean;
  set(value: unknown): void;
}

/** Returns the paths in a recipe that are text. */
export function pathsOf(recipe: Layer, { paths }: RecipeRules): PathValue[] {
  const find = (
    within: unknown,
    rule: string,
    [key, ...rest]: readonly string[],
    above: readonly string[],
  ): PathValue[] => {
    if (!isLayer(within)) return [];
    return (key === '*' ? Object.keys(within) : [key]).flatMap((name) => {
      const value = Object.hasOwn(within, name) ? within[name] : undefined;
      if (rest.length > 0) return find(value, rule, rest, [...above, name]);
      const values = [value].flat().filter((one) => typeof one === 'string' && one !== '');
      if (values.length === 0 || (!Array.isArray(value) && typeof value !== 'string')) return [];
      const set = (changed: unknown) => define(within, name, changed);
      const full = [...above, name].join('.');
      return [{ key: full, rule, values: values as string[], isList: Array.isArray(value), set }];
    });
  };
  return paths.flatMap((path) => find(recipe, path.join('.'), path, []));
}

/** Whether the files of a key are fetched while they are read. */
export function isStreamed({ rule }: PathValue, recipe: Layer, { streamed }: RecipeRules): boolean {
  if (!streamed?.keys.includes(rule)) return false;
  const [section, key] = streamed.unless;
  const within = recipe[section];
  return isLayer(within) && within[key] === false;
}

function withAbsolutePaths(layer: Layer, directory: string, rules: RecipeRules): Layer {
  const result = structuredClone(layer);
  for (const { key, values, isList, set } of pathsOf(result, rules)) {
    const absolute = (path: string) => {
      if (isHubAddress(path) || rules.files?.[key]?.test(path) === false) return path;
      const local = resolve(directory, path);
      const address = rules.hub?.[key] && !existsSync(local) ? modelAddress(path) : undefined;
      return address ?? local;
    };
    set(isList ? values.map(absolute) : absolute(values[0]));
  }
  return result;
}

/** Assigns a key, which may be `__proto__`: the schema then refuses it like any unknown key. */
function define(target: Layer, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

function isLayer(value: unknown): value is Layer {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
