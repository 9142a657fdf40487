/** The command line of `meap-convert`, as a function from arguments to an exit code. */
import { convertPytorch, readGguf, writeGguf } from '@meap/inference';
import { bytes, type CommandIo, EXIT, grouped, packageVersion, runCommand } from '@meap/recipe-cli';
import { Command, Option } from 'commander';
import { isUserError } from './errors.ts';
import { openFolders } from './model-command.ts';

/** `--type`, and the format of weights in safetensors. */
const DTYPES = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' } as const;
const GGUF_ONLY = ['q8_0', 'q4_0'] as const;

interface Flags {
  model: string;
  to?: 'gguf';
  from?: 'gguf' | 'pytorch';
  out: string;
  type?: keyof typeof DTYPES | (typeof GGUF_ONLY)[number];
}

/** Runs `meap-convert`. */
export async function convertCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-convert')
    .description(
      'Convert a model to a GGUF file of llama.cpp and Ollama, from one, or from PyTorch’s older formats.',
    )
    .requiredOption(
      '--model <model>',
      'with --to: Hugging Face folder, PEFT adapter (which is merged), run directory, or OWNER/NAME on the Hub; with --from: a GGUF file, or a folder with pytorch_model.bin or tokenizer.model',
    )
    .addOption(new Option('--to <format>', 'write a GGUF file').choices(['gguf']).conflicts('from'))
    .addOption(
      new Option(
        '--from <format>',
        'write a Hugging Face folder with safetensors and tokenizer.json',
      ).choices(['gguf', 'pytorch']),
    )
    .requiredOption('--out <path>', 'GGUF file to write, or folder, which must be missing or empty')
    .addOption(
      new Option(
        '--type <type>',
        "number format of matrices (default: the model's; f32 from a quantised GGUF file)",
      ).choices([...Object.keys(DTYPES), ...GGUF_ONLY]),
    )
    .version(packageVersion(import.meta.url));
  const action = async () => {
    const { model, to, from, out, type } = command.opts<Flags>();
    if (to) {
      const written = await writeGguf(await openFolders(model, io), { path: out, type });
      io.stdout.write(
        `written      ${written.path}   ${written.type}, ${written.numTensors} tensors, ${bytes(written.bytes)}, context ${grouped(written.contextLength)}\n` +
          `             ${written.modelfile}   (ollama create NAME -f ${written.modelfile})\n`,
      );
    } else if (from) {
      if (type === 'q8_0' || type === 'q4_0') command.error(`error: --type ${type} is only for --to gguf`);
      const read = from === 'gguf' ? readGguf : convertPytorch;
      const config = await read(model, {
        directory: out,
        dtype: type && DTYPES[type as keyof typeof DTYPES],
      });
      io.stdout.write(`written      ${out}   ${config.model_type ?? 'llama'}, ${config.torch_dtype}\n`);
    } else {
      command.error("error: required option '--to gguf', '--from gguf' or '--from pytorch' not specified");
    }
    return EXIT.done;
  };
  return runCommand(command, argv, { io, isUserError, action });
}
