import { probePaths } from '@meap/eval-recipes';
import { type RecipeRules, readRecipe } from '@meap/recipe-cli';
import { type PretrainConfig, resolveConfig } from './resolve-config.ts';

export const RULES: RecipeRules = {
  shipped: { moduleUrl: import.meta.url, program: 'pretrain' },
  paths: [
    ['model', 'from'],
    ['data', 'files'],
    ['data', 'sources', '*', 'files'],
    ['data', 'validation_files'],
    ['data', 'cache_dir'],
    ['tokenizer', 'path'],
    ...probePaths,
  ],
  hub: { 'model.from': 'model', 'tokenizer.path': 'tokenizer' },
  streamed: { unless: ['data', 'keep_downloads'], keys: ['data.files', 'data.sources.*.files'] },
  alternatives: [
    ['data', 'files', 'npm', 'sources'],
    ['data', 'validation_files', 'validation_fraction'],
    ['tokenizer', 'path', 'vocab_size'],
  ],
};

/**
 * Reads a recipe and its base recipes, applies overrides and checks the result.
 *
 * A recipe overrides its base key by key: null removes an inherited key, lists are replaced. Paths are relative to the
 * recipe; those of overrides and of recipes found by name are relative to the working directory.
 *
 * @param file path of a recipe, or name of one in this package
 * @param overrides `path.to.key=value`, the value in YAML; later ones win
 * @param numRanks processes that share every step
 * @throws ConfigurationError with every problem
 */
export function loadConfig(file: string, overrides: readonly string[] = [], numRanks = 1): PretrainConfig {
  return resolveConfig(readRecipe(file, overrides, RULES), numRanks);
}
