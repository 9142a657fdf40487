import { type BackendName, backendNames } from '@meap/tensor-kernels';
import { type Command, InvalidArgumentError, Option } from 'commander';

/** Flags of commands that generate text; the generator has defaults for absent ones. */
export interface SamplingFlags {
  temperature: number;
  topK?: number;
  topP?: number;
  seed: number;
  backend: BackendName;
}

/** Adds the flags of commands that generate text. */
export function withSamplingFlags(command: Command, { temperature }: { temperature: number }): Command {
  return command
    .option(
      '--temperature <t>',
      '0 takes the most likely token, 1 samples from the model’s distribution',
      numberFlag,
      temperature,
    )
    .option('--top-k <k>', 'sample from the k most likely tokens', numberFlag)
    .option('--top-p <p>', 'sample from the most likely tokens with a total probability of p', numberFlag)
    .option('--seed <n>', 'seed of sampling; the same seed gives the same text', numberFlag, 0)
    .addOption(new Option('--backend <name>', 'compute backend').choices(backendNames).default('auto'));
}

/** Parses the value of a flag as a number. */
export function numberFlag(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('expected a number');
  return value;
}
