import { type BackendName, backendNames } from '@meap/tensor-kernels';
import { type Command, InvalidArgumentError, Option } from 'commander';

/** Flags of a command that generates text; absent ones leave the choice to the generator. */
export interface SamplingFlags {
  temperature: number;
  topK?: number;
  topP?: number;
  seed: number;
  backend: BackendName;
}

/** Adds the flags that every command that generates text has. */
export function withSamplingFlags(command: Command, { temperature }: { temperature: number }): Command {
  return command
    .option(
      '--temperature <t>',
      '0 takes the most likely token, 1 samples as the model says',
      numberFlag,
      temperature,
    )
    .option('--top-k <k>', 'sample from the k most likely tokens', numberFlag)
    .option('--top-p <p>', 'sample from the most likely tokens that together reach probability p', numberFlag)
    .option('--seed <n>', 'the same seed draws the same text', numberFlag, 0)
    .addOption(new Option('--backend <name>', 'what computes').choices(backendNames).default('auto'));
}

/** Reads the value of a flag as a number. */
export function numberFlag(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('expected a number');
  return value;
}
