import { type OutputStream, packageVersion } from '@meap/recipe-cli';
import type { BackendDescription } from '@meap/tensor-kernels';
import { Command } from 'commander';

/** Returns a command with the options that all commands of this package have. */
export function modelCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .requiredOption('--model <dir>', 'Hugging Face folder, PEFT adapter, or run directory')
    .version(packageVersion(import.meta.url));
}

/** Reports a backend that was not selected explicitly and is far slower than another would be. */
export function reportFallback(
  selected: string | undefined,
  { name, device, reason }: BackendDescription,
  stderr: OutputStream,
): void {
  const isSlow = name === 'wasm' || name === 'cpu';
  if (isSlow && (selected ?? 'auto') === 'auto')
    stderr.write(`backend      ${name} (${device}): ${reason}\n`);
}
