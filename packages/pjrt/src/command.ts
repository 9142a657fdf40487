/** The command line of `meap-pjrt`, as a function from arguments to an exit code. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { buildAddon, isAddonBuilt } from './build-addon.ts';
import { PjrtError, PluginError } from './errors.ts';
import { findPlugins } from './find-plugins.ts';
import { INSTALLABLE, installPlugin } from './install.ts';
import type { Wheel } from './wheels.ts';

/** The output streams of the command. */
export interface Output {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown; isTTY?: boolean };
}

/** Runs a command line; returns the exit code. */
export async function pjrtCommand(argv: readonly string[], { stdout, stderr }: Output): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const program = new Command('meap-pjrt')
    .description(
      'Installs and lists PJRT plugins: the compilers and runtimes of XLA for CPUs, GPUs and TPUs.',
    )
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) });
  program
    .command('install')
    .argument('<plugin>', INSTALLABLE.join(', '))
    .description("install a plugin into the user's cache, from the package index that pip would use")
    .action(async (name: string) => {
      const found = await installPlugin(name, progress(stderr));
      stdout.write(`${found.name} ${found.version}   ${found.path}\n`);
    });
  program
    .command('list')
    .description('list the plugins on this machine, the one that is used first at the top')
    .action(async () => {
      const found = await findPlugins();
      if (found.length === 0) stdout.write('no plugins; install one with: meap-pjrt install cpu\n');
      // They are not loaded: libtpu asks a server about its host for minutes.
      for (const { name, version: own, path, source } of found) {
        stdout.write(`${name}${own ? ` ${own}` : ''}   ${source}   ${path}\n`);
      }
    });
  program
    .command('build')
    .option('--if-possible', 'without a compiler, print one line and succeed')
    .description('compile the addon now, instead of on first use')
    .action(({ ifPossible = false }: { ifPossible?: boolean }) => {
      try {
        if (!isAddonBuilt()) stdout.write(`built ${buildAddon()}\n`);
      } catch (error) {
        if (!(ifPossible && error instanceof PluginError)) throw error;
        stderr.write(`meap-pjrt: ${error.message}\n`);
      }
    });
  try {
    await program.parseAsync(argv as string[], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    // A cache that cannot be written, a full disk.
    const isOfSystem = typeof (error as NodeJS.ErrnoException).syscall === 'string';
    if (!(error instanceof PjrtError || isOfSystem)) throw error;
    stderr.write(`meap-pjrt: ${(error as Error).message}\n`);
    return 1;
  }
}

/** A line for each wheel; on a terminal it shows how much has arrived. */
function progress(stderr: Output['stderr']): (wheel: Wheel, received: number) => void {
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  let shown = '';
  return ({ project, version, size }, received) => {
    const total = size === undefined ? '' : ` of ${mebibytes(size)}`;
    const isComplete = received === size;
    if (stderr.isTTY) {
      const line = `${project} ${version}   ${mebibytes(received)}${total}`;
      if (line !== shown) stderr.write(`\r\x1b[K${line}${isComplete ? '\n' : ''}`);
      shown = line;
    } else if (received === 0) stderr.write(`${project} ${version}${total.replace('of ', '  ')}\n`);
  };
}
