/** `meap-evaluate list`: lists the tasks. */

import { DATA_SETS, GROUPS, HUB_DATA, hubNameOf, TASKS } from '@meap/eval-recipes';
import { hubAddress } from '@meap/hub';
import type { CommandIo } from '@meap/recipe-cli';
import type { Command } from 'commander';

export function addListCommand(program: Command, io: CommandIo): void {
  const command = program
    .command('list')
    .description('List all tasks, what they measure, their data sets, and what --data hub fetches of those.')
    .option('--json', 'print one JSON object per line');
  command.action(() => {
    const isJson = command.opts<{ json?: true }>().json;
    const width = Math.max(...[...TASKS.keys()].map((name) => name.length));
    for (const [name, { description, data, prompts }] of TASKS) {
      const examples = prompts?.examples;
      const sets = examples === undefined || examples === 'rows' ? data : [...data, examples];
      const files = sets.map((set) => ({ ...DATA_SETS.get(set)!, name: set, hub: HUB_DATA.get(set) }));
      if (isJson) {
        const listed = files.map(({ name, what, source, hub }) => ({ name, what, source, hub: hub ?? null }));
        io.stdout.write(`${JSON.stringify({ task: name, description, data: listed })}\n`);
        continue;
      }
      io.stdout.write(`${name.padEnd(width)}  ${description}\n`);
      for (const { name, what, source, hub } of files) {
        const place = hub ? `--data hub fetches ${hubAddress(hubNameOf(hub))}` : source;
        io.stdout.write(`${' '.repeat(width)}    data.${name}: ${what}; ${place}\n`);
      }
    }
    for (const [name, { description, tasks }] of GROUPS) {
      io.stdout.write(
        isJson
          ? `${JSON.stringify({ group: name, description, tasks })}\n`
          : `${name.padEnd(width)}  ${description}: ${tasks.join(', ')}\n`,
      );
    }
  });
}
