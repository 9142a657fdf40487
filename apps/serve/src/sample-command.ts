/** The command line of `meap-sample`, as a function from arguments to an exit code. */
import { encodePrompt, loadModel } from '@meap/inference';
import { generate } from '@meap/llama-model';
import {
  type CommandIo,
  countFlag,
  plainText,
  runCommand,
  type SamplingFlags,
  withSamplingFlags,
} from '@meap/recipe-cli';
import { loadTokenizer } from '@meap/token-dataset';
import { isUserError } from './errors.ts';
import { modelCommand, openFolders, reportFallback } from './model-command.ts';

interface Flags extends SamplingFlags {
  model: string;
  prompt: string;
  maxNewTokens: number;
  json?: true;
}

/** Runs `meap-sample`. */
export async function sampleCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = modelCommand('meap-sample', 'Continue a prompt.')
    .requiredOption('--prompt <text>', 'text to continue; empty for the start of a document')
    .option('--max-new-tokens <n>', 'maximum number of tokens to generate', countFlag(0), 64)
    .option('--json', 'print one JSON object');
  withSamplingFlags(command, { temperature: 0 });
  const action = async () => {
    const { prompt, json, backend, quantize, model: directory, ...options } = command.opts<Flags>();
    const folders = await openFolders(directory, io);
    const tokenizer = loadTokenizer(folders.tokenizer);
    const { model, backend: used } = await loadModel(folders, { backend, quantize });
    reportFallback(backend, used, io.stderr);
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
