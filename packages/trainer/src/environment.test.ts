import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeEnvironment, writeEnvironment } from './environment.ts';

it('writes the environment and further entries on every start', () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'meap-environment-')), 'run');
  for (const backend of ['native', 'cpu']) {
    writeEnvironment(directory, { backend: { name: backend } });
    const written = JSON.parse(readFileSync(join(directory, 'environment.json'), 'utf8'));
    expect(written).toEqual({ ...describeEnvironment(), backend: { name: backend } });
    expect(written.node).toBe(process.version);
    expect(written.cores).toBeGreaterThan(0);
  }
  expect(readdirSync(directory)).toEqual(['environment.json']);
  rmSync(join(directory, '..'), { recursive: true });
});

it('has no git entry outside a repository', () => {
  const directory = mkdtempSync(join(tmpdir(), 'meap-environment-'));
  const before = process.env.GIT_DIR;
  process.env.GIT_DIR = join(directory, 'none');
  try {
    expect(describeEnvironment().git).toBeNull();
  } finally {
    if (before === undefined) delete process.env.GIT_DIR;
    else process.env.GIT_DIR = before;
    rmSync(directory, { recursive: true });
  }
});
