import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { captureOutput } from './capture-output.ts';
import { EXIT } from './command.ts';
import { RunError, userErrorTest } from './errors.ts';
import { type RunEnd, runTrainingCommand, type TrainingProgram } from './training-command.ts';

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
  it('sums up what has finished, in a folder named after the recipe', async () => {
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

  it('plans in place of running', async () => {
    const [text, json] = [
      await run({}, '--dry-run', '--set', 'x=1'),
      await run({}, '--dry-run', '--json', '--backend', 'cpu'),
    ];
    expect(text.stdout).toBe('plan of x=1\n');
    expect(JSON.parse(json.stdout)).toEqual({ overrides: ['backend=cpu'] });
  });

  it('logs a line of JSON an event with time and level, errors too', async () => {
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

  it('points to the model of a run that was finished already, or to its checkpoint', async () => {
    const end: RunEnd = { status: 'complete', step: 3, checkpoint: 'C' };
    expect((await ends(end, '--out', 'O')).stdout).toBe('O holds a finished run of 3 steps: C\n');
    expect((await ends({ ...end, model: 'M' }, '--out', 'O')).stdout).toContain('3 steps: M\n');
  });

  it('on a signal says how to go on and exits as the signal asks', async () => {
    const listeners = process.listenerCount('SIGTERM');
    const outcome = await run({
      run: async (_, { signal }) => {
        process.emit('SIGTERM', 'SIGTERM');
        return { status: signal?.aborted ? 'stopped' : 'finished', step: 2 };
      },
    });
    expect(outcome.code).toBe(EXIT.SIGTERM);
    expect(outcome.stdout).toBe(
      'SIGTERM: saving and stopping; again to end at once\n' +
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

  it('tells errors of users in a line, the system’s too, and others with a stack', async () => {
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
    expect((await fails(new Error('oops'))).stderr).toMatch(/a fault of this program[\s\S]*oops\n\s+at /);
  });

  it('serves a dashboard while the run goes on, and no longer', async () => {
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

  it('goes on without a dashboard where its port is in use, and refuses what is no port', async () => {
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
