import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dashboardCommand } from './command.ts';
import { ask } from './testing.ts';

/** Runs the command until `until` has checked its output. */
async function run(args: string[], until?: (stdout: string) => Promise<void>) {
  const stop = new AbortController();
  let [stdout, stderr] = ['', ''];
  const output = {
    stdout: {
      write: (text: string) => {
        stdout += text;
        if (until) void until(stdout).finally(() => stop.abort());
      },
    },
    stderr: {
      write: (text: string) => {
        stderr += text;
      },
    },
  };
  const code = await dashboardCommand(args, output, stop.signal);
  return { code, stdout, stderr };
}

it('serves until the signal is aborted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'meap-dashboard-'));
  try {
    let status = 0;
    const { code, stdout } = await run([folder, '--port', '0'], async (text) => {
      status = (await ask(/http:\S+/.exec(text)![0], '/')).status;
    });
    expect({ code, status }).toEqual({ code: 0, status: 200 });
    expect(stdout).toMatch(/^dashboard {4}http:\/\/127\.0\.0\.1:\d+\/ {3}stop with Ctrl-C\n$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('reports invalid arguments in one line', async () => {
  expect(await run(['/nowhere/at/all'])).toEqual({
    code: 2,
    stdout: '',
    stderr: 'meap-dashboard: /nowhere/at/all does not exist, expected a run directory or a folder of them\n',
  });
  for (const port of ['x', '-1', '70000', '1.5', '']) {
    expect((await run(['.', '--port', port])).stderr).toBe(
      `meap-dashboard: invalid port, got ${port || 'nothing'}, expected an integer from 0 to 65535; omit it for 6017, or any free port if 6017 is in use\n`,
    );
  }
  expect((await run(['--nonsense'])).code).toBe(2);
  const help = await run(['--help']);
  expect(help).toMatchObject({ code: 0, stderr: '' });
  expect(help.stdout).toContain('meap-dashboard');
});
