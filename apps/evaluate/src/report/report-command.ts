/** `meap-evaluate report DIR...`: results as a page. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
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
    const input = readFolders(folders);
    mkdirSync(dirname(out), { recursive: true });
    writeReport(input, out);
    io.stdout.write(`report       ${out}\n`);
  });
}
