/** The command line of `meap-dashboard`, as a function from arguments to an exit code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { parsePort, startDashboard } from './dashboard.ts';
import { DashboardError } from './errors.ts';

/** The output streams of the command. */
export interface Output {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

/** Serves until `signal` is aborted; returns the exit code. */
export async function dashboardCommand(
  argv: readonly string[],
  { stdout, stderr }: Output,
  signal: AbortSignal,
): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const command = new Command('meap-dashboard')
    .description('Serves a live page about training runs on this machine.')
    .argument('[dirs...]', 'run directories or their parent folders (default: runs)')
    .option(
      '--port <number>',
      'port on 127.0.0.1, 0 for any free port (default: 6017, or any free port if in use)',
    )
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) });
  try {
    command.parse(argv as string[], { from: 'user' });
    const { port } = command.opts<{ port?: string }>();
    const runs = command.args.length > 0 ? command.args : ['runs'];
    const dashboard = await startDashboard({ runs, port: port === undefined ? undefined : parsePort(port) });
    stdout.write(`dashboard    ${dashboard.url}   stop with Ctrl-C\n`);
    await new Promise((resolve) => {
      if (signal.aborted) resolve(undefined);
      signal.addEventListener('abort', resolve);
    });
    await dashboard.close();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof DashboardError)) throw error;
    stderr.write(`meap-dashboard: ${error.message.replace(/^dashboard: /, '')}\n`);
    return 2;
  }
}
