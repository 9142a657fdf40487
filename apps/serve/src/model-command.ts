import { packageVersion } from '@meap/recipe-cli';
import { Command } from 'commander';

/** Returns a command with the options that all commands of this package have. */
export function modelCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .requiredOption('--model <dir>', 'Hugging Face folder, PEFT adapter, or run directory')
    .version(packageVersion(import.meta.url));
}
