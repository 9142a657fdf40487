/** The command line of `meap-sample`, as a function from arguments to an exit code. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { generate, loadLlama } from '@meap/llama-model';
import {
  type CommandIo,
  numberFlag,
  packageVersion,
  plainText,
  RunError,
  runCommand,
  type SamplingFlags,
  withSamplingFlags,
} from '@meap/recipe-cli';
import { setBackend } from '@meap/tensor-kernels';
import { loadTokenizer } from '@meap/token-dataset';
import { latestCheckpoint } from '@meap/trainer';
import { Command } from 'commander';
import { isUserError } from './errors.ts';
import { encodePrompt } from './training-parts.ts';

interface Flags extends SamplingFlags {
  model: string;
  prompt: string;
  maxNewTokens: number;
  json?: true;
}

/** Runs `meap-sample`; everything it has to say to its user goes through `io`. */
export async function sampleCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-sample')
    .description('Continue a prompt with a LLaMA: a Hugging Face directory, or a run of meap-pretrain.')
    .requiredOption('--model <dir>', 'Hugging Face directory, or a run directory for its newest checkpoint')
    .requiredOption('--prompt <text>', 'text to continue; an empty one starts a document')
    .option('--max-new-tokens <n>', 'most tokens to add', numberFlag, 64)
    .option('--json', 'print one JSON object')
    .version(packageVersion(import.meta.url));
  withSamplingFlags(command, { temperature: 0 });
  const action = async () => {
    const { prompt, json, backend, model: directory, ...options } = command.opts<Flags>();
    await setBackend(backend);
    const path = await modelDirectory(directory);
    const tokenizer = loadTokenizer(path);
    const model = await loadLlama(path);
    try {
      const promptIds = await encodePrompt(tokenizer, prompt);
      const newIds: number[] = [];
      for await (const id of generate(model, promptIds, options)) newIds.push(id);
      const text = await tokenizer.decode([...promptIds, ...newIds], { skipSpecialTokens: true });
      if (json) {
        io.stdout.write(`${JSON.stringify({ prompt, prompt_ids: [...promptIds], new_ids: newIds, text })}\n`);
      } else {
        io.stdout.write(
          `prompt ids  ${promptIds.join(' ')}\nnew ids     ${newIds.join(' ')}\n\n${plainText(text)}\n`,
        );
      }
      return 0;
    } finally {
      model.dispose();
    }
  };
  return runCommand(command, argv, { io, isUserError, action });
}

/** The folder with config.json: the given one, or the newest complete checkpoint of a run. */
async function modelDirectory(directory: string): Promise<string> {
  if (existsSync(join(directory, 'config.json'))) return directory;
  const found = await latestCheckpoint(join(directory, 'checkpoints'), () => {});
  if (found) return found.path;
  throw new RunError(
    `--model ${directory}: no config.json there, expected a Hugging Face directory or a run directory with checkpoints`,
  );
}
