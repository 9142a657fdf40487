/** `meap-evaluate list`: lists the tasks. */

import { DATA_SETS, TASKS } from '@meap/eval-recipes';
import type { CommandIo } from '@meap/recipe-cli';
import type { Command } from 'commander';

export function addListCommand(program: Command, io: CommandIo): void {
  const command = program
    .command('list')
    .description('List all tasks, what they measure, and their data sets.')
    .option('--json', 'print one JSON object per line');
  command.action(() => {
    const width = Math.max(...[...TASKS.keys()].map((name) => name.length));
    for (const [name, { description, data, prompts }] of TASKS) {
      const examples = prompts?.examples;
      const sets = examples === undefined || examples === 'rows' ? data : [...data, examples];
      const sources = sets.map((set) => ({ name: set, ...DATA_SETS.get(set)! }));
      if (command.opts<{ json?: true }>().json) {
        const files = sources.map(({ name, what, source }) => ({ name, what, source }));
        io.stdout.write(`${JSON.stringify({ task: name, description, data: files })}\n`);
        continue;
      }
      io.stdout.write(`${name.padEnd(width)}  ${description}\n`);
      for (const { name, what, source } of sources) {
        io.stdout.write(`${' '.repeat(width)}    data.${name}: ${what}; ${source}\n`);
      }
    }
  });
}
