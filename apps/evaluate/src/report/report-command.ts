/** `meap-evaluate report DIR...`: results as a page. */
import { dirname } from 'node:path';
import { makeDirectory } from '@meap/files';
import type { CommandIo } from '@meap/recipe-cli';
import type { Command } from 'commander';
import { readFolders } from './read-folders.ts';
import { writeReport } from './report.ts';

/** Adds `report` to a program. */
export function addReportCommand(program: Command, io: CommandIo): void {
  const command = program
    .command('report')
    .description('Write one page about evaluations: tables, figures, differences from the first model.')
    .argument('<dirs...>', 'folders that run, compare or attention wrote')
    .option('--out <file>', 'the page; its figures go into figures/ beside it', 'report.html');
  command.action((folders: string[]) => {
    const { out } = command.opts<{ out: string }>();
    io.stdout.write(`report       ${reportOn(folders, out)}\n`);
  });
}

/** Writes the page about some folders of results, and its folder; returns its path. */
export function reportOn(folders: readonly string[], path: string): string {
  const input = readFolders(folders);
  makeDirectory(dirname(path));
  writeReport(input, path);
  return path;
}
