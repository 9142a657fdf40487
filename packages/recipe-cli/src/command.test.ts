import { Writable } from 'node:stream';
import { SafetensorsError } from '@meap/safetensors';
import { BackendError } from '@meap/tensor-kernels';
import { TrainerError } from '@meap/trainer';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { captureOutput } from './capture-output.ts';
import {
  commandToResume,
  overridesOf,
  runCommand,
  type TrainingFlags,
  withTrainingFlags,
} from './command.ts';
import { ConfigurationError, RunError, userErrorTest } from './errors.ts';

const isUserError = userErrorTest([]);

function run(argv: string[], action: (flags: TrainingFlags) => Promise<number>) {
  const command = withTrainingFlags(new Command('meap-x'));
  return captureOutput((io) =>
    runCommand(command, argv, { io, isUserError, action: () => action(command.opts()) }),
  );
}

/** A stream whose first write fails later, as those of a process do. */
function failing(code: string): NodeJS.WriteStream {
  return new Writable({
    write: (_chunk, _encoding, done) =>
      setImmediate(done, Object.assign(new Error(`${code}: write`), { code })),
  }) as unknown as NodeJS.WriteStream;
}

describe('runCommand', () => {
  it('continues when its output is closed, and reports output that a full disk lost', async () => {
    const printing = async (code: string) => {
      const stderr: string[] = [];
      const io = { stdout: failing(code), stderr: { write: (text: string) => stderr.push(text) } as never };
      const action = async () => {
        for (let i = 0; i < 3; i++) {
          io.stdout.write('a line\n');
          await new Promise((resolve) => setImmediate(resolve));
        }
        return 0;
      };
      return [await runCommand(new Command('meap-x'), [], { io, isUserError, action }), ...stderr];
    };
    for (const code of ['EPIPE', 'EIO', 'EBADF']) expect(await printing(code)).toEqual([0]);
    expect(await printing('ENOSPC')).toEqual([1, 'meap-x: output was lost: ENOSPC: write\n']);
  });

  it('passes the flags; --set may be repeated', async () => {
    const argv = ['--config', 'a.yaml', '--set', 'x=1', '--set', 'y=2', '--backend', 'cpu'];
    let seen: string[] = [];
    expect(
      (
        await run(argv, async (flags) => {
          seen = overridesOf(flags);
          return 0;
        })
      ).code,
    ).toBe(0);
    expect(seen).toEqual(['x=1', 'y=2', 'backend=cpu']);
  });

  it.each([
    [
      'a configuration',
      new ConfigurationError(['a: wrong', 'b: wrong']),
      2,
      'meap-x: a: wrong\nmeap-x: b: wrong\n',
    ],
    ['a user', new RunError('--out x: full'), 1, 'meap-x: --out x: full\n'],
    ['a hostile file', new RunError('x: \u001b[2J\0'), 1, 'meap-x: x: \u{fffd}[2J\u{fffd}\n'],
    ['a file of weights', new SafetensorsError('x: cut off'), 1, 'meap-x: x: cut off\n'],
    ['a backend', new BackendError('no GPU'), 1, 'meap-x: no GPU\n'],
    ['training', new TrainerError('no such run'), 1, 'meap-x: no such run\n'],
  ])('prints one line per problem of %s', async (_, error, code, stderr) => {
    const outcome = await run(['--config', 'a'], async () => {
      throw error;
    });
    expect(outcome).toEqual({ code, stdout: '', stderr });
  });

  it.each([
    ['JavaScript’s arrays', () => new ArrayBuffer(2 ** 45)],
    [
      'the kernels',
      () => {
        throw new Error('std::bad_alloc');
      },
    ],
  ])('reports in one line that %s are out of memory', async (_, demand) => {
    const outcome = await run(['--config', 'a'], async () => Number(demand()));
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(
      /^meap-x: out of memory: [^\n]+; use smaller batches or shorter texts[^\n]+\n$/,
    );
  });

  it('shows a stack for internal errors only', async () => {
    const outcome = await run(['--config', 'a'], async () => {
      throw new TypeError('oops');
    });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/^meap-x: internal error, please report it: TypeError: oops\n\s+at /);
  });

  it('refuses unknown flags and missing ones', async () => {
    expect((await run(['--config', 'a', '--nope'], async () => 0)).code).toBe(2);
    expect((await run([], async () => 0)).stderr).toContain("required option '--config <recipe>'");
    expect((await run(['--help'], async () => 0)).code).toBe(0);
  });
});

it('the command to resume names the folder and has no --resume never', () => {
  expect(commandToResume('meap-x', ['--config', 'a b.yaml', '--resume', 'never'], 'runs/a')).toBe(
    "meap-x --config 'a b.yaml' --out runs/a",
  );
  expect(commandToResume('meap-x', ['--resume=never', '--out=o', '--set', "a='b'"], 'o')).toBe(
    "meap-x --out=o --set 'a='\\''b'\\'''",
  );
});
