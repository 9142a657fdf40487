/** With Yarn's Plug'n'Play, peers must be declared along the whole dependency chain. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

interface Manifest {
  name: string;
  private?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

const root = resolve(import.meta.dirname, '../../..');
const manifests = ['packages', 'apps'].flatMap((folder) =>
  readdirSync(resolve(root, folder)).map(
    (name): Manifest => JSON.parse(readFileSync(resolve(root, folder, name, 'package.json'), 'utf8')),
  ),
);
const published = new Map(manifests.filter((own) => !own.private).map((own) => [own.name, own]));

it.each([...published.keys()])('%s declares the peers of its dependencies', (name) => {
  const { dependencies = {}, optionalDependencies, peerDependencies } = published.get(name)!;
  const named = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
  for (const dependency of Object.keys(dependencies)) {
    const peers = Object.keys(published.get(dependency)?.peerDependencies ?? {});
    expect(named, `peers of ${dependency}`).toEqual(expect.arrayContaining(peers));
  }
});
