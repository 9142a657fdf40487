/** `meap-evaluate report DIR...`: writes a page about results. */
import { dirname } from 'node:path';
import { makeDirectory } from '@meap/files';
import type { CommandIo } from '@meap/recipe-cli';
import type { Command } from 'commander';
import { readLoggedRows } from './logged-rows.ts';
import { readFolders } from './read-folders.ts';

export function addReportCommand(program: Command, io: CommandIo): void {
  const command = program
    .command('report')
    .description(
      'Write a page about evaluations: tables, figures, differences from the first model; also as Markdown and LaTeX.',
    )
    .argument('<dirs...>', 'folders of run, compare or attention')
    .option(
      '--out <file>',
      'file of the page; its .md and .tex, and figures/, are written beside it',
      'report.html',
    );
  command.action(async (folders: string[]) => {
    const { out } = command.opts<{ out: string }>();
    io.stdout.write(`report       ${await reportOn(folders, out)}\n`);
  });
}

/** Writes a page about some folders of results; returns its path. */
export async function reportOn(folders: readonly string[], path: string): Promise<string> {
  const input = readFolders(folders);
  makeDirectory(dirname(path));
  // Plots take a third of this program's time to load.
  const { writeReport } = await import('./report.ts');
  writeReport({ ...input, logged: await readLoggedRows(input.models) }, path);
  return path;
}
