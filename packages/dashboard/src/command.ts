/** The command line of `meap-dashboard`, as a function from arguments to an exit code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { parsePort, startDashboard } from './dashboard.ts';
import { DashboardError } from './errors.ts';

/** Where the command writes. */
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
    .description('A live page about training runs, for a browser on this machine.')
    .argument('[dirs...]', 'runs, or folders of runs (default: runs)')
    .option('--port <number>', 'port on 127.0.0.1; 0 for any that is free (default: 6017, or any)')
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) });
  try {
    command.parse(argv as string[], { from: 'user' });
    const { port } = command.opts<{ port?: string }>();
    const runs = command.args.length > 0 ? command.args : ['runs'];
    const dashboard = await startDashboard({ runs, port: port === undefined ? undefined : parsePort(port) });
    stdout.write(`dashboard    ${dashboard.url}   Ctrl-C ends it\n`);
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
