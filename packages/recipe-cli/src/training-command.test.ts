import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { captureOutput } from './capture-output.ts';
import { EXIT } from './command.ts';
import { RunError, userErrorTest } from './errors.ts';
import type { RunEnd } from './run-directory.ts';
import { runTrainingCommand, type TrainingProgram } from './training-command.ts';

type Event = { type: 'tick' };
type Config = { overrides: readonly string[]; distributed: { timeout_seconds: number } };

/** Runs the command of a program of which a test changes a part. */
function run(changes: Partial<TrainingProgram<Config, Event>>, ...more: string[]) {
  const program: TrainingProgram<Config, Event> = {
    name: 'meap-x',
    description: 'Trains nothing.',
    version: '1.2.3',
    isUserError: userErrorTest([RunError]),
    loadConfig: (_, overrides) => ({ overrides, distributed: { timeout_seconds: 1 } }),
    plan: async ({ overrides }) => ({ json: { overrides }, text: `plan of ${overrides.join()}` }),
    run: async () => ({ status: 'finished', step: 3, checkpoint: 'C' }),
    progress: ({ write }) => ({
      onEvent: ({ type }) => write(`${type}\n`),
      note: (text) => write(`${text}\n`),
      close: () => {},
    }),
    summary: (out) => `all is in ${out}`,
    ...changes,
  };
  return captureOutput((io) => runTrainingCommand(program, ['--config', 'a/b.yaml', ...more], io));
}

const ends = (end: RunEnd, ...more: string[]) => run({ run: async () => end }, ...more);

describe('runTrainingCommand', () => {
  it('prints the summary of a finished run, in a folder named after the recipe', async () => {
    const seen: string[] = [];
    const outcome = await run({
      run: async (_, { out, resume, onEvent }) => {
        seen.push(out, String(resume));
        onEvent?.({ type: 'tick' });
        return { status: 'finished', step: 3 };
      },
    });
    expect(outcome).toEqual({ code: EXIT.done, stdout: 'tick\n\nall is in runs/b\n', stderr: '' });
    expect(seen).toEqual(['runs/b', 'auto']);
  });

  it('prints the plan instead of running', async () => {
    const [text, json] = [
      await run({}, '--dry-run', '--set', 'x=1'),
      await run({}, '--dry-run', '--json', '--backend', 'cpu'),
    ];
    expect(text.stdout).toBe('plan of x=1\n');
    expect(JSON.parse(json.stdout)).toEqual({ overrides: ['backend=cpu'] });
  });

  it('logs one JSON object per event with time and level, also for errors', async () => {
    const isTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    const linesOf = (stdout: string) =>
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    const good = await run(
      {
        run: async (_, { onEvent }) => {
          onEvent?.({ type: 'tick' });
          onEvent?.({ type: 'warning' } as never);
          return { status: 'finished', step: 3 };
        },
      },
      '--json-logs',
    );
    expect(linesOf(good.stdout)).toMatchObject([
      { time: isTime, level: 'info', type: 'tick' },
      { time: isTime, level: 'warn', type: 'warning' },
      { time: isTime, level: 'info', type: 'finished', step: 3, out: 'runs/b' },
    ]);
    const bad = await run(
      {
        run: async () => {
          throw new RunError('no room');
        },
      },
      '--json-logs',
    );
    expect(linesOf(bad.stdout)).toEqual([
      { time: isTime, level: 'error', type: 'error', message: 'no room' },
    ]);
    expect(bad).toMatchObject({ code: EXIT.failed, stderr: 'meap-x: no room\n' });
    const plan = await run({}, '--dry-run', '--json-logs');
    expect(linesOf(plan.stdout)).toEqual([{ time: isTime, level: 'info', type: 'plan', overrides: [] }]);
  });

  it('prints the model or checkpoint of a run that was already finished', async () => {
    const end: RunEnd = { status: 'complete', step: 3, checkpoint: 'C' };
    expect((await ends(end, '--out', 'O')).stdout).toBe('O holds a finished run of 3 steps: C\n');
    expect((await ends({ ...end, model: 'M' }, '--out', 'O')).stdout).toContain('3 steps: M\n');
  });

  it('prints the command to resume after a signal and exits with the code of the signal', async () => {
    const listeners = process.listenerCount('SIGTERM');
    const outcome = await run({
      run: async (_, { signal }) => {
        process.emit('SIGTERM', 'SIGTERM');
        return { status: signal?.aborted ? 'stopped' : 'finished', step: 2 };
      },
    });
    expect(outcome.code).toBe(EXIT.SIGTERM);
    expect(outcome.stdout).toBe(
      'SIGTERM: saving and stopping; repeat the signal to end at once\n' +
        'stopped at step 2; continue with: meap-x --config a/b.yaml --out runs/b\n',
    );
    expect(process.listenerCount('SIGTERM')).toBe(listeners);
  });

  it('prints events and the end as JSON', async () => {
    const { stdout } = await ends({ status: 'finished', step: 3, checkpoint: 'C' }, '--json', '--out', 'O');
    expect(JSON.parse(stdout)).toEqual({
      type: 'finished',
      step: 3,
      checkpoint: 'C',
      out: 'O',
      seconds: expect.any(Number),
    });
  });

  it('prints user and system errors in one line, and others with a stack', async () => {
    const fails = (error: Error) => run({ run: () => Promise.reject(error) });
    expect((await fails(new RunError('no room'))).stderr).toBe('meap-x: no room\n');
    const missing = await run({
      run: async () => {
        writeFileSync('/nowhere/at/all', '');
        return { status: 'finished', step: 0 };
      },
    });
    expect(missing).toMatchObject({
      code: EXIT.failed,
      stderr: expect.stringMatching(/^meap-x: ENOENT.*\n$/),
    });
    expect((await fails(new Error('oops'))).stderr).toMatch(/internal error[\s\S]*oops\n\s+at /);
  });

  it('serves a dashboard during the run', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'meap-command-'));
    try {
      let url = '';
      let status = 0;
      const outcome = await run(
        {
          run: async (_, { onEvent }) => {
            onEvent?.({ type: 'tick' });
            return { status: 'finished', step: 3 };
          },
          progress: ({ write }) => ({
            onEvent: () => {},
            note: (text) => {
              write(`${text}\n`);
              url = /http:\S+/.exec(text)?.[0] ?? url;
            },
            close: () => {},
          }),
          summary: async () => {
            status = (await fetch(url)).status;
            return 'done';
          },
        },
        ...['--dashboard', '0', '--out', join(folder, 'runs/x')],
      );
      expect(outcome).toMatchObject({ code: EXIT.done, stderr: '' });
      expect(outcome.stdout).toMatch(/^dashboard {4}http:\/\/127\.0\.0\.1:\d+\/\n\ndone\n$/);
      expect(status).toBe(200);
      await expect(fetch(url)).rejects.toThrow();
      const json = await run({}, '--json', '--dashboard', '0', '--out', join(folder, 'runs/x'));
      const [first] = json.stdout.split('\n');
      expect(JSON.parse(first)).toEqual({
        type: 'dashboard',
        url: expect.stringContaining('http://127.0.0.1:'),
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('continues without a dashboard if the port is in use, and refuses invalid ports', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'meap-command-'));
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    try {
      const { port } = other.address() as { port: number };
      const out = ['--out', join(folder, 'x')];
      const { code, stdout } = await run({}, '--dashboard', String(port), ...out);
      expect(code).toBe(EXIT.done);
      expect(stdout).toContain(
        `warning      dashboard: port ${port} is in use; choose another, or 0 for any free port; `,
      );
      const json = await run({}, '--json', '--dashboard', String(port), ...out);
      expect(JSON.parse(json.stdout.split('\n')[0])).toMatchObject({ type: 'warning' });
      for (const wrong of ['x', '65536', '-1', '1e3']) {
        const refused = await run({}, `--dashboard=${wrong}`, ...out);
        expect(refused.code).toBe(EXIT.misused);
        expect(refused.stderr).toContain(
          `--dashboard: invalid port, got ${wrong}, expected an integer from 0 to 65535`,
        );
      }
    } finally {
      other.close();
      rmSync(folder, { recursive: true });
    }
  });
});
