#!/usr/bin/env node
/**
 * The platforms with a package of prebuilt kernels: `node native/platforms.mjs` writes the files of these packages and the
 * optional dependencies of @meap/tensor-kernels. A test compares them.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `target` is zig's name, with the oldest glibc or macOS that the binary runs on. */
export const platforms = [
  { os: 'linux', cpu: 'x64', libc: 'glibc', target: 'x86_64-linux-gnu.2.28' },
  { os: 'linux', cpu: 'x64', libc: 'musl', target: 'x86_64-linux-musl' },
  { os: 'linux', cpu: 'arm64', libc: 'glibc', target: 'aarch64-linux-gnu.2.28' },
  { os: 'linux', cpu: 'arm64', libc: 'musl', target: 'aarch64-linux-musl' },
  { os: 'darwin', cpu: 'x64', target: 'x86_64-macos.11.0' },
  { os: 'darwin', cpu: 'arm64', target: 'aarch64-macos.11.0' },
  { os: 'win32', cpu: 'x64', target: 'x86_64-windows-gnu' },
  { os: 'win32', cpu: 'arm64', target: 'aarch64-windows-gnu' },
].map((platform) => {
  const suffix = { glibc: '-gnu', musl: '-musl' }[platform.libc] ?? '';
  const folder = `${platform.os}-${platform.cpu}${suffix}`;
  return { ...platform, folder, name: `@meap/tensor-kernels-${folder}` };
});

/** The file name of the addon in every package. */
export const ADDON = 'meap_kernels.node';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const platformsDirectory = join(root, 'platforms');

const SYSTEMS = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' };
const describe = ({ os, cpu, libc }) => `${SYSTEMS[os]} on ${cpu}${libc ? ` with ${libc}` : ''}`;

/** Returns the path and content of every generated file. */
export function generate() {
  const path = join(root, 'package.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  const { version, license, engines, publishConfig } = manifest;
  const files = platforms.flatMap((platform) => {
    const { folder, name, os, cpu, libc } = platform;
    const json = {
      name,
      version,
      description: `The native kernels of @meap/tensor-kernels for ${describe(platform)}.`,
      license,
      engines,
      main: ADDON,
      files: [ADDON],
      // The system cannot load a file from Yarn's zip archives.
      preferUnplugged: true,
      scripts: { prepack: 'node ../../native/require-addon.mjs' },
      // pnpm publishes these as fields of the package; in the workspace they would cause warnings on other systems.
      publishConfig: { ...publishConfig, os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) },
    };
    const readme =
      `# ${name}\n\nThe native kernels of [@meap/tensor-kernels](https://www.npmjs.com/package/@meap/tensor-kernels), ` +
      `compiled for ${describe(platform)}. Installed with it; of no use alone.\n`;
    const at = (file) => join(platformsDirectory, folder, file);
    return [
      [at('package.json'), `${JSON.stringify(json, null, 2)}\n`],
      [at('README.md'), readme],
      [at('turbo.json'), '{\n  "extends": ["//"],\n  "tags": ["kernels"]\n}\n'],
    ];
  });
  const optionalDependencies = Object.fromEntries(platforms.map(({ name }) => [name, 'workspace:*']));
  return [...files, [path, `${JSON.stringify({ ...manifest, optionalDependencies }, null, 2)}\n`]];
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  for (const [path, text] of generate()) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
