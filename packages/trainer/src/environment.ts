import { execFileSync } from 'node:child_process';
import { arch, cpus, hostname, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import type { Json } from './types.ts';

/** The machine and repository of a run; `git` is null outside a repository, `dirty` with changes in tracked files. */
export interface Environment {
  node: string;
  platform: string;
  arch: string;
  hostname: string;
  cpu: string;
  cores: number;
  memoryBytes: number;
  git: { commit: string; dirty: boolean } | null;
}

/** Describes this process's machine and the repository of the working directory. */
export function describeEnvironment(): Environment {
  return {
    node: process.version,
    platform: `${platform()} ${release()}`,
    arch: arch(),
    hostname: hostname(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    git: describeGit(),
  };
}

/** Writes {@link describeEnvironment} and further entries to `environment.json` of a run directory; creates the directory. */
export function writeEnvironment(directory: string, extra: { [key: string]: Json } = {}): void {
  makeDirectory(directory);
  const environment = JSON.stringify({ ...describeEnvironment(), ...extra }, null, 2);
  writeFileAtomic(join(directory, 'environment.json'), `${environment}\n`);
}

function describeGit(): Environment['git'] {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return {
      commit: git('rev-parse', 'HEAD'),
      dirty: git('status', '--porcelain', '--untracked-files=no') !== '',
    };
  } catch {
    return null;
  }
}
