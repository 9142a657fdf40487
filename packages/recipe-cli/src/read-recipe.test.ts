import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readRecipe } from './read-recipe.ts';

const folder = mkdtempSync(join(tmpdir(), 'recipe-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));
const write = (name: string, content: string) => {
  mkdirSync(join(folder, 'inner'), { recursive: true });
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const rules = {
  paths: [['data', 'files']],
  alternatives: [['data', 'files', 'npm']],
} as const;

describe('readRecipe', () => {
  it('overrides key by key, removes with null, resolves paths relative to their file', () => {
    write('inner/base.yaml', 'seed: 1\ndata: {files: [a.txt], field: x, gone: 1}\n');
    const file = write('top.yaml', 'extends: inner/base.yaml\ndata: {gone: null}\ntrain: {lr: 2}\n');
    expect(readRecipe(file, ['train.lr=3', 'data.list=[a, b]'], rules)).toEqual({
      seed: 1,
      data: { files: [join(folder, 'inner/a.txt')], field: 'x', list: ['a', 'b'] },
      train: { lr: 3 },
    });
  });

  it('removes the inherited one of two alternatives', () => {
    const file = write('one.yaml', 'data: {files: [a.txt]}\n');
    expect(readRecipe(file, ['data.npm=[moby]'], rules)).toEqual({ data: { npm: ['moby'] } });
  });

  it.each([
    ['a circle', 'extends: circle.yaml', [], /circular extends/],
    ['invalid YAML', 'a: [1', [], /not YAML/],
    ['a list', '- a', [], /expected keys with values/],
    ['a base that is no path', 'extends: 3', [], /extends: got 3, expected the path/],
    ['an override without a value', 'a: 1', ['a'], /--set a: expected path.to.key=value/],
    ['an override that is no YAML', 'a: 1', ['a=[1'], /--set a=\[1: the value is not YAML/],
  ])('refuses %s', (_, content, overrides, message) => {
    const file = write('circle.yaml', content);
    expect(() => readRecipe(file, overrides, rules)).toThrow(message);
  });

  it('names the file that extends a missing one', () => {
    const file = write('lost.yaml', 'extends: nowhere.yaml');
    expect(() => readRecipe(file, [], rules)).toThrow(
      /nowhere.yaml \(extended by .*lost.yaml\): cannot be read/,
    );
  });

  it('leaves a key called __proto__ for the schema to refuse', () => {
    const layer = readRecipe(write('proto.yaml', '__proto__: {polluted: 1}'), [], rules);
    expect(Object.keys(layer)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
