/** Reads the YAML files of lm-evaluation-harness' tasks and groups (`lm_eval/tasks/_yaml_loader.py`). */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigurationError, parseConfig, reasonOf } from '@meap/recipe-cli';
import { parseDocument, type ScalarTag } from 'yaml';
import type { z } from 'zod';

/** Keys and values of a file with those that it includes. */
export type TaskYaml = Readonly<Record<string, unknown>>;

/** A function of Python that a file names by `!function`. */
class PythonFunction {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

const functionTag: ScalarTag = {
  tag: '!function',
  resolve: (name: string) => new PythonFunction(name),
};

/** @throws ConfigurationError with the file and the key of every problem */
export function parseKeys<Schema extends z.ZodObject>(
  schema: Schema,
  file: string,
  yaml: TaskYaml,
): z.output<Schema> {
  try {
    return parseConfig(schema, yaml);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    throw new ConfigurationError(error.problems.map((problem) => `${file}: ${problem}`));
  }
}

/**
 * Reads a file. Its keys replace those of the files that it includes, whole.
 *
 * @throws ConfigurationError for a file that cannot be read, is not YAML, or includes itself
 */
export function readTaskYaml(file: string, from: readonly string[] = []): TaskYaml {
  const fail = (problem: string) => new ConfigurationError([`${file}: ${problem}`]);
  if (from.includes(file)) throw fail('circular include, expected files that do not include each other');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const by = from.length > 0 ? `, which ${from.at(-1)} includes` : '';
    throw fail(`cannot be read: ${reasonOf(error)}${by}; correct the path`);
  }
  let content: unknown;
  try {
    // PyYAML reads YAML 1.1, and keeps the last of equal keys.
    const document = parseDocument(text, {
      version: '1.1',
      uniqueKeys: false,
      logLevel: 'error',
      customTags: [functionTag],
    });
    if (document.errors.length > 0) throw document.errors[0];
    content = document.toJS();
  } catch (error) {
    throw fail(`not YAML: ${reasonOf(error).split('\n')[0]}`);
  }
  if (content === null || typeof content !== 'object' || Array.isArray(content)) {
    throw fail('got no keys, expected a task or group of lm-evaluation-harness');
  }
  const { include, ...own } = content as Record<string, unknown>;
  const included = [include ?? []].flat().map((path) => {
    if (typeof path !== 'string') throw fail(`include: got ${JSON.stringify(path)}, expected a path`);
    const { task_list: _, ...keys } = readTaskYaml(resolve(dirname(file), path), [...from, file]);
    return keys;
  });
  return Object.assign({}, ...included, own);
}

/** Names of Python functions in a value, with their keys. */
export function pythonFunctions(value: unknown, key = ''): { key: string; name: string }[] {
  if (value instanceof PythonFunction) return [{ key, name: value.name }];
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    pythonFunctions(inner, key === '' ? name : `${key}.${name}`),
  );
}
