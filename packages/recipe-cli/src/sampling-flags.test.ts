import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { captureOutput } from './capture-output.ts';
import { EXIT, runCommand } from './command.ts';
import { userErrorTest } from './errors.ts';
import { withSamplingFlags } from './sampling-flags.ts';

function run(...argv: string[]) {
  const command = withSamplingFlags(new Command('meap-x'), { temperature: 0.7 });
  const action = async () => {
    seen = command.opts();
    return EXIT.done;
  };
  let seen: object = {};
  const outcome = captureOutput((io) =>
    runCommand(command, argv, { io, isUserError: userErrorTest([]), action }),
  );
  return outcome.then((end) => ({ ...end, seen }));
}

describe('withSamplingFlags', () => {
  it('parses numbers and leaves absent flags undefined', async () => {
    expect((await run()).seen).toEqual({ temperature: 0.7, seed: 0, backend: 'auto' });
    expect((await run('--top-p', '0.9', '--top-k', '5', '--temperature', '0')).seen).toMatchObject({
      temperature: 0,
      topK: 5,
      topP: 0.9,
    });
    expect((await run('--top-p', '0', '--temperature', '1e308', '--seed', '9007199254740991')).seen).toEqual({
      temperature: 1e308,
      topP: 0,
      seed: 2 ** 53 - 1,
      backend: 'auto',
    });
  });

  it.each([
    [['--top-k', 'many'], 'expected an integer of at least 1'],
    [['--top-k', '0'], 'expected an integer of at least 1'],
    [['--top-p', '1.01'], 'expected a number from 0 to 1'],
    [['--top-p', 'NaN'], 'expected a number from 0 to 1'],
    [['--temperature', '-1e-9'], 'expected a number of at least 0'],
    [['--temperature', 'Infinity'], 'expected a number of at least 0'],
    [['--seed', ''], 'expected an integer of at least 0'],
    [['--seed', '9007199254740992'], 'expected an integer of at least 0'],
    [['--backend', 'cuda'], 'Allowed choices are auto, xla, webgpu, tensorflow, native, wasm, cpu'],
  ])('refuses %j', async (argv, message) => {
    const { code, stderr } = await run(...argv);
    expect(code).toBe(EXIT.misused);
    expect(stderr).toContain(message);
  });
});
