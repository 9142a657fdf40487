import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');
const folders = ['packages', 'apps'].flatMap((kind) =>
  readdirSync(join(root, kind)).map((name) => `${kind}/${name}`),
);
const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'recipes/cluster/README.md'],
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  ...folders.flatMap((folder) => [
    ...[`${folder}/README.md`].filter((page) => existsSync(join(root, page))),
    ...measurements(`${folder}/bench/results`),
  ]),
];
function measurements(folder: string): string[] {
  return existsSync(join(root, folder))
    ? readdirSync(join(root, folder)).map((name) => `${folder}/${name}`)
    : [];
}
const read = (page: string) => readFileSync(join(root, page), 'utf8');

/** Returns a page without fenced code. */
const prose = (page: string) => read(page).replace(/^(`{3,})[\s\S]*?^\1$/gm, '');

/** Returns the anchors that GitHub gives the headings of a page. */
const anchors = (path: string) =>
  Array.from(readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm), ([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );

/** Returns the broken links of a page into this repository. */
function deadLinks(page: string): string[] {
  const links = Array.from(prose(page).matchAll(/\]\((?!\w+:)([^)\s]+)\)/g), ([, link]) => link);
  return links.filter((link) => {
    const [path, anchor] = link.split('#');
    const target = path === '' ? join(root, page) : resolve(dirname(join(root, page)), path);
    if (!existsSync(target)) return true;
    if (anchor === undefined) return false;
    const text = statSync(target).isDirectory() ? join(target, 'README.md') : target;
    return !existsSync(text) || !anchors(text).includes(anchor);
  });
}

describe('pages', () => {
  it.each(pages)('%s has no broken links', (page) => {
    expect(deadLinks(page)).toEqual([]);
  });

  it.each(pages.filter((page) => /^(docs\/|CONTRIBUTING|SECURITY)/.test(page)))(
    '%s names files that exist',
    (page) => {
      const named = Array.from(
        prose(page).matchAll(/`((?:apps|packages|recipes|scripts|docs|\.github)\/[\w./-]+)`/g),
        ([, path]) => path,
      );
      // NAME is a placeholder, and `docs/api` is built.
      const real = named.filter((path) => !path.includes('NAME') && path !== 'docs/api');
      expect(real.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    },
  );

  it('docs/architecture.md names identifiers that its files contain', () => {
    const named = [...read('docs/architecture.md').matchAll(/\[`(\w+)`\]\(([^)]+)\)/g)];
    expect(named.length).toBeGreaterThan(40);
    for (const [, name, link] of named) {
      const text = readFileSync(join(root, 'docs', link), 'utf8');
      expect(text, `${name} in ${link}`).toMatch(new RegExp(`\\b${name}\\b`));
    }
  });

  it('docs/architecture.md lists every import tag of turbo.json', () => {
    const { tags } = JSON.parse(read('turbo.json')).boundaries;
    const listed = Array.from(read('docs/architecture.md').matchAll(/^\| `([\w-]+)`/gm), ([, tag]) => tag);
    expect(listed.sort()).toEqual(
      Object.keys(tags)
        .filter((tag) => tag !== 'test-support')
        .sort(),
    );
  });

  it('apps/pretrain/README.md shows the quickstart recipe', () => {
    const [, recipe] = read('recipes/pretrain/quickstart.yaml').match(/^# yaml.*?\n(.*)$/s)!;
    expect(read('apps/pretrain/README.md')).toContain(`\`\`\`yaml\n${recipe}\`\`\``);
  });

  it('README.md lists every root script', () => {
    const page = read('README.md');
    for (const name of Object.keys(JSON.parse(read('package.json')).scripts))
      expect(page).toMatch(new RegExp(`\`(pnpm )?${name}\\b`));
  });

  it('README.md lists every package and app', () => {
    const page = read('README.md');
    for (const folder of folders.filter((name) => existsSync(join(root, name, 'package.json'))))
      expect(page).toContain(`](${folder})`);
  });
});
