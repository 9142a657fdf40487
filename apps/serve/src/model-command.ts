import { findModel, type ModelDirectory } from '@meap/inference';
import { type CommandIo, type OutputStream, packageVersion, showDownloads } from '@meap/recipe-cli';
import type { BackendDescription } from '@meap/tensor-kernels';
import { Command } from 'commander';

/** Returns a command with the options that all commands of this package have. */
export function modelCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .requiredOption(
      '--model <dir>',
      'Hugging Face folder, PEFT adapter, run directory, or name of the Hub: OWNER/NAME',
    )
    .version(packageVersion(import.meta.url));
}

/** Finds a model, and shows its download. */
export async function openFolders(model: string, io: CommandIo): Promise<ModelDirectory> {
  const downloads = showDownloads(io);
  return findModel(model, downloads).finally(downloads.close);
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
