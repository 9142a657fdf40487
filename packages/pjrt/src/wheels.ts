import { arch, platform } from 'node:process';

/** A wheel of a package index. */
export interface Wheel {
  readonly project: string;
  readonly version: string;
  readonly filename: string;
  readonly url: string;
  readonly sha256: string;
  readonly size?: number;
}

/** What decides which wheels run on a machine. */
export interface WheelMachine {
  readonly platform: string;
  readonly arch: string;
  /** The version of glibc, such as `2.36`; undefined with another C library. */
  readonly glibc?: string;
}

/** Returns this machine. */
export function thisMachine(): WheelMachine {
  if (platform !== 'linux') return { platform, arch };
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return { platform, arch, glibc: header.glibcVersionRuntime };
}

/** A file in the answer of a package index (PEP 691). */
export interface IndexFile {
  filename: string;
  url: string;
  hashes: Record<string, string>;
  size?: number;
  yanked?: boolean | string;
}

/**
 * Returns the newest released wheel for a machine: no pre-release, no withdrawn one, and of a version below `below`.
 * Which Python it is for does not matter, since only its libraries are used.
 */
export function selectWheel(
  project: string,
  files: readonly IndexFile[],
  machine: WheelMachine,
  below?: string,
): Wheel | undefined {
  const wheels = files.flatMap((file): Wheel[] => {
    const { filename, url, hashes, size, yanked } = file;
    const parts = filename.replace(/\.whl$/, '').split('-');
    if (!filename.endsWith('.whl') || parts.length < 5 || yanked || !hashes.sha256) return [];
    const version = parts[1];
    const isReleased = /^\d+(\.\d+)*(\.post\d+)?$/.test(version);
    const isAllowed = below === undefined || compareVersions(version, below) < 0;
    const runs = parts
      .at(-1)!
      .split('.')
      .some((tag) => isCompatible(tag, machine));
    return isReleased && isAllowed && runs
      ? [{ project, version, filename, url, size, sha256: hashes.sha256 }]
      : [];
  });
  return wheels.sort((a, b) => compareVersions(b.version, a.version))[0];
}

/** Compares versions such as 0.10.1 and 0.9.post2; negative if the first is older. */
export function compareVersions(a: string, b: string): number {
  const parse = (version: string) => {
    const [release, post = '-1'] = version.split('.post');
    return { numbers: release.split('.').map(Number), post: Number(post) };
  };
  const [x, y] = [parse(a), parse(b)];
  for (let i = 0; i < Math.max(x.numbers.length, y.numbers.length); i++) {
    const difference = (x.numbers[i] ?? 0) - (y.numbers[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return x.post - y.post;
}

const ARCHITECTURES: Record<string, Record<string, string[]>> = {
  linux: { x64: ['x86_64'], arm64: ['aarch64'] },
  darwin: { x64: ['x86_64', 'universal2'], arm64: ['arm64', 'universal2'] },
};
/** Old names of manylinux tags. */
const LEGACY: Record<string, string> = { manylinux1: '2_5', manylinux2010: '2_12', manylinux2014: '2_17' };

/** Whether a wheel with a platform tag (PEP 425, 600) runs on a machine. */
export function isCompatible(tag: string, { platform, arch, glibc }: WheelMachine): boolean {
  if (tag === 'any') return true;
  const own = ARCHITECTURES[platform]?.[arch]?.find((name) => tag.endsWith(`_${name}`));
  if (!own) return false;
  const base = tag.slice(0, -own.length - 1);
  if (platform === 'darwin') return /^macosx_\d+_\d+$/.test(base);
  const needed = LEGACY[base] ?? /^manylinux_(\d+_\d+)$/.exec(base)?.[1];
  return needed !== undefined && glibc !== undefined && compareVersions(needed.replace('_', '.'), glibc) <= 0;
}
