/**
 * What a run must survive, each fault done to a real process that trains the tiny model of `fixtures`.
 *
 * MEAP_FAULT_RUNS (3 unless given) is how often one is killed at a random point: MEAP_FAULT_RUNS=100 npx vitest run
 * packages/trainer/src/faults --project slow
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listCheckpoints, openCheckpoint } from './index.ts';
import {
  directory,
  expectExactResume,
  expectWhole,
  follow,
  nextDirectory,
  prepareRuns,
  root,
  STEPS,
  type Surroundings,
  script,
  start,
} from './testing.ts';

const RUNS = Number(process.env.MEAP_FAULT_RUNS ?? 3);
prepareRuns();

/** Does something before some steps, with the process waiting. */
async function interfere(actions: Record<number, () => void>, surroundings: Surroundings = {}) {
  const child = start({ pauseAt: Object.keys(actions).map(Number) }, surroundings);
  return follow(child, ({ type, before }) => {
    if (type !== 'paused') return;
    actions[before as number]();
    child.stdin!.write('\n');
  });
}

/** Numbers in [0, 1) from a seed, the same on every machine. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('kill -9', () => {
  it(`at ${RUNS} random points tears and loses no checkpoint, and resuming is exact`, {
    timeout: 60_000 + RUNS * 30_000,
  }, async () => {
    const random = randomFrom(1);
    let [killed, finished] = [0, 0];
    for (let run = 0; run < RUNS; run++) {
      const child = start();
      // At a random time after an event: while a step is computed, copied, written, synced or renamed.
      let [left, announced] = [1 + Math.floor(random() * 60), 0];
      const delay = random() * 12;
      const { signal, code, stderr } = await follow(child, ({ type, step }) => {
        if (type === 'checkpoint') announced = step!;
        if (--left === 0) setTimeout(() => child.kill('SIGKILL'), delay);
      });
      expect(signal === 'SIGKILL' || code === 0, stderr).toBe(true);
      const paths = await listCheckpoints(join(directory, 'checkpoints'));
      for (const path of paths) await openCheckpoint(path);
      const newest = paths.length > 0 ? (await openCheckpoint(paths[0])).state.step : 0;
      expect(newest).toBeGreaterThanOrEqual(announced);
      killed += Number(signal === 'SIGKILL');
      if (newest < STEPS) continue;
      finished++;
      await expectExactResume();
      nextDirectory();
    }
    await expectExactResume();
    console.log(`kill -9: ${killed} of ${RUNS} runs killed, ${finished + 1} brought to their end, all exact`);
    expect(killed).toBeGreaterThan(RUNS / 2);
  });
});

const isRoot = process.getuid?.() === 0;
const canMount = isRoot && mountTmpfs(join(root, 'probe'), '1m') && unmount(join(root, 'probe'));

function mountTmpfs(path: string, size: string): boolean {
  mkdirSync(path, { recursive: true });
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path]).status === 0;
}

function unmount(path: string): boolean {
  return spawnSync('umount', [path]).status === 0;
}

describe.skipIf(!canMount)('a full disk (needs the right to mount one)', () => {
  it('costs warnings while it lasts, and nothing once there is room', async () => {
    expect(mountTmpfs(directory, '4m')).toBe(true);
    try {
      const filler = join(directory, 'filler');
      const fill = () => {
        const handle = openSync(filler, 'w');
        try {
          for (;;) writeSync(handle, Buffer.alloc(4096));
        } catch (error) {
          expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
        } finally {
          closeSync(handle);
        }
      };
      const { warnings, code, stderr } = await interfere({ 11: fill, 26: () => rmSync(filler) });
      expect(code, stderr).toBe(0);
      expect(warnings.length).toBeGreaterThan(0);
      for (const warning of warnings) expect(warning).toMatch(/ENOSPC[^\n]*$/);
      expectWhole();
    } finally {
      unmount(directory);
    }
  });
});

const canLimit = spawnSync('prlimit', ['--version']).status === 0;

describe.skipIf(!canLimit)('too many open files (needs prlimit)', () => {
  it('cost checkpoints while that lasts, and nothing afterwards', async () => {
    const child = start({ pauseAt: [11, 26] });
    const limit = (files: number) =>
      spawnSync('prlimit', ['--pid', `${child.pid}`, `--nofile=${files}:1024`]);
    const { warnings, code, stderr } = await follow(child, ({ type, before }) => {
      if (type !== 'paused') return;
      limit(before === 11 ? 10 : 1024);
      child.stdin!.write('\n');
    });
    expect(code, stderr).toBe(0);
    expect(warnings.length).toBeGreaterThan(0);
    for (const warning of warnings) expect(warning).toMatch(/EMFILE[^\n]*$/);
    expectWhole();
  });
});

// The superuser may write anywhere; as root, the run is nobody's.
const uid = isRoot ? 65_534 : undefined;
const canRun = spawnSync(process.execPath, ['--check', script], { uid }).status === 0;

describe.skipIf(!canRun || process.platform === 'win32')('a directory', () => {
  it('that may not be written for a while costs the checkpoints of that while', async () => {
    mkdirSync(directory);
    chmodSync(root, 0o755);
    if (uid !== undefined) chownSync(directory, uid, uid);
    const allow = (mode: number) => {
      for (const path of [directory, join(directory, 'checkpoints')]) chmodSync(path, mode);
    };
    const { warnings, events, code, stderr } = await interfere(
      { 11: () => allow(0o500), 26: () => allow(0o700) },
      { uid },
    );
    expect(code, stderr).toBe(0);
    expect(warnings.length).toBeGreaterThan(5);
    for (const warning of warnings) {
      expect(warning).toMatch(
        /^checkpoint \S+step-\d+: .*EACCES[^\n]*; training continues, earlier checkpoints stay$/,
      );
    }
    expect(events.at(-1)).toMatchObject({ type: 'result', status: 'finished' });
    expectWhole();
  });

  it('that may not be written at all is one line before anything is done', async () => {
    mkdirSync(directory, { mode: 0o500 });
    if (uid !== undefined) chownSync(directory, uid, uid);
    const { events, code } = await follow(start({}, { uid }));
    expect(code).toBe(1);
    expect(events).toMatchObject([{ type: 'error', name: 'TrainerError' }]);
    expect(events[0].message).toMatch(/^train: the run directory \S+ cannot be used: EACCES[^\n]+$/);
  });

  it('that vanishes ends the run with one line, and does not come back empty', async () => {
    const { events, warnings, code } = await interfere({
      11: () => renameSync(directory, `${directory}.moved`),
    });
    expect(code).toBe(1);
    for (const warning of warnings) expect(warning).toMatch(/ENOENT[^\n]+; training continues/);
    expect(events.at(-1)).toMatchObject({ type: 'error', name: 'CheckpointError' });
    expect(events.at(-1)!.message).toMatch(/step-00000040: not saved: ENOENT[^\n]+$/);
    expect(existsSync(directory)).toBe(false);
    await expectExactResume();
  });

  it('of checkpoints that vanishes is made again', async () => {
    const checkpoints = join(directory, 'checkpoints');
    const { code, stderr } = await interfere({ 11: () => renameSync(checkpoints, `${directory}.moved`) });
    expect(code, stderr).toBe(0);
    expectWhole();
  });

  it('below which none can be made is one line, and not an endless wait', async () => {
    const child = start({}, {}, '/proc/meap/run');
    const { events, code } = await follow(child);
    expect(code).toBe(1);
    expect(events[0].message).toMatch(/^train: the run directory \/proc\/meap\/run cannot be used: [^\n]+$/);
  });
});

describe('a flipped bit', () => {
  it('in any file of the newest checkpoint is detected; the previous one resumes to the same bytes', async () => {
    const random = randomFrom(2);
    const names = [
      'trainer/optimizer.safetensors',
      'trainer/state.json',
      'trainer/SHA256SUMS',
      'weights.json',
      'config.json',
    ];
    for (const [i, name] of names.entries()) {
      // Each time some steps further on.
      const child = start();
      await follow(
        child,
        ({ type, step }) => type === 'step' && step! >= 6 * (i + 1) && child.kill('SIGKILL'),
      );
      const [newest] = await listCheckpoints(join(directory, 'checkpoints'));
      const path = join(newest, name);
      const bytes = readFileSync(path);
      bytes[Math.floor(random() * bytes.length)] ^= 1 << Math.floor(random() * 8);
      writeFileSync(path, bytes);
      const found = await openCheckpoint(newest).catch((error: Error) => error.message);
      expect(found).toMatch(/^checkpoint \S+ is damaged: \S+/);
      if (name !== 'trainer/SHA256SUMS') expect(found).toContain(`damaged: ${name} has SHA-256`);
    }
    const events = await expectExactResume();
    expect(events[0].message).toMatch(/config\.json has SHA-256 [^\n]+; skipped$/);
  });
});

describe('a clock', () => {
  it('that jumps to and fro changes nothing', async () => {
    const { code, stderr } = await follow(start({ clockShift: 24 }));
    expect(code, stderr).toBe(0);
    expectWhole();
  });

  it('set back between two parts of a run leaves its event files in order', async () => {
    for (const stopAt of [10, 20]) {
      const child = start({ clockShift: stopAt === 10 ? -48 : 48 });
      await follow(child, ({ type, step }) => type === 'step' && step! >= stopAt && child.kill('SIGTERM'));
    }
    await expectExactResume();
    const names = readdirSync(directory).filter((name) => name.startsWith('events.'));
    const steps = names.sort().map((name) => Number(/\.s(\d+)$/.exec(name)![1]));
    expect(steps).toHaveLength(3);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  });
});

describe('a step', () => {
  it('whose loss is NaN ends the run before it reaches the weights', async () => {
    const { events, code } = await follow(start({ nanAt: 12 }));
    expect(code).toBe(1);
    expect(events.at(-1)).toMatchObject({ type: 'error', name: 'NonFiniteError' });
    expect((await expectExactResume())[0]).toMatchObject({ type: 'resume', step: 11 });
  });

  it('that gets no memory ends the run with its last checkpoint whole', async () => {
    const { events, code } = await follow(start({ demandAt: 12 }));
    expect(code).toBe(1);
    expect(events.at(-1)).toMatchObject({ type: 'error', name: 'RangeError' });
    expect(events.at(-1)!.message).toMatch(/allocation failed/);
    expect((await expectExactResume())[0]).toMatchObject({ type: 'resume', step: 11 });
  });

  it('that fills the heap until the process is aborted leaves a whole checkpoint', async () => {
    const { signal, code, stderr } = await follow(
      start({ hoardAt: 12 }, { nodeOptions: ['--max-old-space-size=120'] }),
    );
    expect(signal === 'SIGABRT' || code !== 0).toBe(true);
    expect(stderr).toContain('heap out of memory');
    expect((await expectExactResume())[0].step).toBeGreaterThanOrEqual(10);
  });
});
