import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findBlocks, isTranscript, normalize, parseMarker, shownCommands } from './markdown-blocks.mjs';

const root = resolve(import.meta.dirname, '..');
const read = (...path) => readFileSync(join(root, ...path), 'utf8');
const readJson = (...path) => JSON.parse(read(...path));
const list = (folder) =>
  existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => join(folder, name)) : [];

const folders = [...list('packages'), ...list('apps')].filter((folder) =>
  existsSync(join(root, folder, 'package.json')),
);
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...list('docs'),
  ...folders.map((folder) => join(folder, 'README.md')),
  ...folders.flatMap((folder) => list(join(folder, 'bench/results'))),
].filter((page) => page.endsWith('.md') && existsSync(join(root, page)));
const blocks = pages.flatMap((page) => findBlocks(read(page), page));

/** What the words of a shell command are, quotes removed, one list for each command of a line. */
function commandsOf(script) {
  const tokens = script
    .replaceAll('\\\n', ' ')
    .matchAll(/\s#.*|\n|&&|[|;&()]|(?:"[^"]*"|'[^']*'|[^\s"'|;&()])+|[^\S\n]+/g);
  const commands = [[]];
  for (const [token] of tokens) {
    if (/^(\n|&&|[|;&()])$/.test(token)) commands.push([]);
    else if (!/^\s/.test(token)) commands.at(-1).push(token.replaceAll(/["']/g, ''));
  }
  return commands.filter((words) => words.length > 0);
}

const scripts = readJson('package.json').scripts;
/** Commands of the workspace: the file that runs and the folder of its sources. */
const bins = new Map(
  folders.flatMap((folder) => {
    const { bin, publishConfig } = readJson(folder, 'package.json');
    return Object.entries({ ...bin, ...publishConfig?.bin }).map(([name, file]) => [
      name,
      join(folder, file),
    ]);
  }),
);

/** Which file of the repository a command runs; undefined for commands from elsewhere. Throws if there is none. */
function programOf(words, page) {
  const [first, ...rest] = words.filter((word) => !/^[A-Z_]+=/.test(word));
  if (['npx', 'time', 'nice', 'exec', 'sudo'].includes(first))
    return programOf(
      rest.filter((word) => word !== '-y'),
      page,
    );
  if (/^pnpm@/.test(first) || first === 'pnpm') {
    const name = rest[0] === 'run' ? rest[1] : rest[0];
    if (['install', 'exec', 'release', '--dir', 'licenses', 'create'].includes(name)) return undefined;
    if (!(name in scripts)) throw new Error(`no root script ${name}`);
    return / node (\S+)/.exec(scripts[name])?.[1];
  }
  if (/^mp(irun|iexec)/.test(first))
    return programOf(rest.slice(rest.findIndex((word) => /^(node|meap-)/.test(word))), page);
  if (first?.startsWith('meap-')) {
    if (!bins.has(first)) throw new Error(`no command ${first}`);
    return bins.get(first);
  }
  if (first !== 'node') return undefined;
  const file = rest.find((word) => !word.startsWith('-'));
  if (file === 'program.js') return undefined;
  return (
    [file, join(dirname(page), file)].find((path) => existsSync(sourceOf(path))) ?? fail(`no file ${file}`)
  );
}
const fail = (message) => {
  throw new Error(message);
};
const sourceOf = (program) =>
  join(root, program.replace('/dist/', '/src/').replace(/(src\/.*)\.js$/, '$1.ts'));

/** The text of a program's folder, and of the packages that read command lines. */
function sourcesOf(program) {
  const known = sources.get(program);
  if (known !== undefined) return known;
  const folder = dirname(sourceOf(program));
  const files = [folder, join(root, 'packages/recipe-cli/src')].flatMap((from) =>
    readdirSync(from, { recursive: true })
      .filter((name) => /\.m?[jt]s$/.test(name) && !/\.test\./.test(name))
      .map((name) => readFileSync(join(from, name), 'utf8')),
  );
  sources.set(program, files.join('\n'));
  return sources.get(program);
}
const sources = new Map();

const recipes = readdirSync(join(root, 'recipes'), { recursive: true }).filter((name) =>
  /\.ya?ml$/.test(name),
);
const recipeNames = recipes.map((name) => name.replace(/^.*\/|\.ya?ml$/g, ''));
const schemas = readdirSync(join(root, 'recipes'), { recursive: true })
  .filter((name) => name.endsWith('schema.json'))
  .map((name) => readJson('recipes', name));

/** Whether a key is in a schema, or below a value that may have any keys. */
function hasKey(schema, [key, ...rest]) {
  if (key === undefined) return true;
  const choices = [...(schema?.anyOf ?? []), ...(schema?.oneOf ?? []), ...(schema?.allOf ?? [])];
  if (choices.some((choice) => hasKey(choice, [key, ...rest]))) return true;
  if (schema?.properties?.[key]) return hasKey(schema.properties[key], rest);
  return typeof schema?.additionalProperties === 'object' && hasKey(schema.additionalProperties, rest);
}

/** What a command names and the repository does not have. */
function stale(words, page) {
  let program;
  try {
    program = programOf(words, page);
  } catch (error) {
    return [error.message];
  }
  if (program === undefined) return [];
  const found = [];
  for (const [i, word] of words.entries()) {
    const next = words[i + 1];
    const [, flag] = /^--([a-z][\w-]*)/.exec(word) ?? [];
    const first = words.findIndex((other) => /meap|pnpm|\.m?js$/.test(other));
    if (
      flag !== undefined &&
      i > first &&
      !new RegExp(`--${flag}\\b|'${flag}'|\\b${flag}:`).test(sourcesOf(program))
    )
      found.push(word);
    if (word === '--config' && /^[a-z]/.test(next)) {
      const isFile = next.includes('/') && existsSync(join(root, next));
      if (!isFile && !recipeNames.includes(next.replace(/\.yaml$/, ''))) found.push(`${word} ${next}`);
    }
    if (word === '--set' && !schemas.some((schema) => hasKey(schema, next.split('=')[0].split('.'))))
      found.push(`${word} ${next}`);
  }
  return found;
}

describe('pages of this repository', () => {
  it('mark every block that looks like a transcript', () => {
    const unmarked = blocks.filter(
      (block) => isTranscript(block) && !block.marker && !block.page.includes('bench/results'),
    );
    expect(unmarked.map(({ page, at }) => `${page}:${at + 1}`)).toEqual([]);
  });

  it('mark blocks whose commands are known', () => {
    const unknown = blocks.filter((block) => {
      const { marker, before } = block;
      if (!marker || marker.skip || marker.run) return false;
      return shownCommands(block) === '' && !['js', 'sh'].includes(before?.language);
    });
    expect(unknown.map(({ page, at }) => `${page}:${at + 1}`)).toEqual([]);
  });

  it.each(pages)('%s shows commands that exist', (page) => {
    const scripts = blocks
      .filter(
        ({ page: of, marker, language }) => of === page && (marker || language === 'sh') && !marker?.exit,
      )
      .flatMap((block) => [shownCommands(block), block.marker?.setup, block.marker?.run])
      .filter((script) => script !== undefined);
    expect(scripts.flatMap(commandsOf).flatMap((words) => stale(words, page))).toEqual([]);
  });
});

describe('findBlocks', () => {
  it('reads markers of both forms, indented blocks too', () => {
    const text = ['```sh', 'echo a', '```', '', '<!-- transcript -->', '', '```', 'a', '```', ''];
    const indented = [
      '- x',
      '',
      '  <!-- transcript',
      '  needs: A b',
      '  setup: cd c',
      '  setup: ls',
      '  -->',
      '',
      '  ```',
      '  $ ls',
      '  d',
      '  ```',
    ];
    const [sh, plain, inList] = findBlocks([...text, ...indented].join('\n'), 'page');
    expect(sh.marker).toBeUndefined();
    expect(plain).toMatchObject({ marker: {}, lines: ['a'], before: sh });
    expect(inList).toMatchObject({
      marker: { needs: 'A b', setup: 'cd c\nls' },
      indent: '  ',
      lines: ['$ ls', 'd'],
    });
    expect(shownCommands(inList)).toBe('ls');
  });

  it('does not take another comment for a marker', () => {
    expect(findBlocks('<!-- note -->\n```\na\n```', 'page')[0].marker).toBeUndefined();
  });

  it('refuses a marker with an unknown key', () => {
    expect(() => parseMarker('need: A', 'page:1')).toThrow(
      'page:1: got "need: A" in a transcript marker, expected skip, needs',
    );
  });
});

describe('stale', () => {
  it.each([
    ['pnpm pretrian', ['no root script pretrian']],
    ['meap-trian --out x', ['no command meap-trian']],
    ['node scripts/none.mjs', ['no file scripts/none.mjs']],
    ['pnpm pretrain --config quickstrat --ouut x', ['--config quickstrat', '--ouut']],
    ['npx meap-pretrain --config quickstart --set train.max_step=1', ['--set train.max_step=1']],
    ["npx meap-pretrain --config quickstart --set 'train.max_steps=1' --out x # and more", []],
  ])('%s', (command, expected) => {
    expect(commandsOf(command).flatMap((words) => stale(words, 'README.md'))).toEqual(expected);
  });
});

it('normalize hides what differs from run to run, and nothing else', () => {
  const before = 'step 3 loss 4.754, 9.93K tokens/s, 1 m 14 s in all; 42.3 % of the peak 255 GFLOP/s';
  const after = 'step 3 loss 4.754, 1.17K tokens/s, 12 m 58 s in all; 38 % of the peak 1,255 GFLOP/s';
  expect(normalize(before)).toBe(normalize(after));
  expect(normalize(before)).not.toBe(normalize(after.replace('4.754', '4.755')));
});
