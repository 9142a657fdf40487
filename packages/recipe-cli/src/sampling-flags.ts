import { type BackendName, backendNames, type QuantizedFormat, quantizedFormats } from '@meap/tensor-kernels';
import { type Command, InvalidArgumentError, Option } from 'commander';

/** Flags of commands that generate text; the generator has defaults for absent ones. */
export interface SamplingFlags {
  temperature: number;
  topK?: number;
  topP?: number;
  seed: number;
  backend: BackendName;
  quantize?: QuantizedFormat;
}

/** Adds the flags of commands that generate text. */
export function withSamplingFlags(command: Command, { temperature }: { temperature: number }): Command {
  return command
    .option(
      '--temperature <t>',
      '0 takes the most likely token, 1 samples from the model’s distribution',
      numberFlag(0),
      temperature,
    )
    .option('--top-k <k>', 'sample from the k most likely tokens', countFlag(1))
    .option(
      '--top-p <p>',
      'sample from the most likely tokens with a total probability of p',
      numberFlag(0, 1),
    )
    .option('--seed <n>', 'seed of sampling; the same seed gives the same text', countFlag(0), 0)
    .addOption(new Option('--backend <name>', 'compute backend').choices(backendNames).default('auto'))
    .addOption(quantizeOption());
}

/** `--quantize`, of programs that run a model. */
export function quantizeOption(): Option {
  const text = 'hold linear layers in 8 or 4 bits, on the native backend; default: as published';
  return new Option('--quantize <format>', text).choices(quantizedFormats);
}

/** Returns a parser of flags whose value is a finite number in a range, both ends included. */
export function numberFlag(min: number, max = Number.MAX_VALUE): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a number ${rangeText(min, max, Number.MAX_VALUE)}`);
  };
}

/** Returns a parser of flags whose value is an integer in a range, both ends included. */
export function countFlag(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected an integer ${rangeText(min, max, Number.MAX_SAFE_INTEGER)}`);
  };
}

function rangeText(min: number, max: number, open: number): string {
  return max === open ? `of at least ${min}` : `from ${min} to ${max}`;
}
