/** The command line of `meap-hub`, as a function from arguments to an exit code. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { modelAddress, modelFiles, type PushedFile, pushToHub } from '@meap/hub';
import { findModel, ModelError } from '@meap/inference';
import { readLlamaConfig } from '@meap/llama-model';
import { bytes, type CommandIo, packageVersion, plainText, runCommand } from '@meap/recipe-cli';
import { Command } from 'commander';
import { isUserError } from './errors.ts';
import { modelCard } from './model-card.ts';

interface Flags {
  private?: true;
  dryRun?: true;
  results?: string[];
}

/** Runs `meap-hub`. */
export async function hubCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const program = new Command('meap-hub')
    .description('Publish models on the Hugging Face Hub.')
    .version(packageVersion(import.meta.url))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
    });
  program
    .command('push <model> <name>')
    .description('Upload a model or adapter of a run directory or a folder to OWNER/NAME, with a model card.')
    .option('--private', 'make a new repository private')
    .option('--dry-run', 'show the files and the model card, and upload nothing')
    .option(
      '--results <path>',
      'results.json of an evaluation, or its folder, for the card; may be repeated (default: evaluate/ of the run)',
      (path: string, paths: string[] = []) => [...paths, path],
    )
    .action((model: string, name: string, flags: Flags) => push(model, name, flags, io));
  const action = async () => program.help({ error: true });
  return runCommand(program, argv, { io, isUserError, action });
}

async function push(model: string, name: string, flags: Flags, io: CommandIo): Promise<void> {
  const { folder, files, card } = await describe(model, name, flags.results);
  const write = (line: string) => io.stdout.write(`${plainText(line)}\n`);
  for (const { path, source } of files) {
    const size = 'file' in source ? statSync(source.file).size : Buffer.byteLength(source.text);
    write(`file         ${path}   ${bytes(size)}`);
  }
  if (flags.dryRun) {
    io.stdout.write(`\n${plainText(card)}\n`);
    write(`dry run      nothing was uploaded to ${name}`);
    return;
  }
  const title = `Upload ${relative('.', folder) || folder} with meap-hub`.replace(/\S*\//, '');
  const { url, commit } = await pushToHub(name, {
    files,
    isPrivate: flags.private ?? false,
    title,
    onEvent: (event) => {
      if (event.type === 'repository')
        write(`repository   ${event.url}   ${event.isNew ? 'created' : 'exists'}`);
      else write(`uploaded     ${event.path}`);
    },
  });
  write(`pushed       ${url}   commit ${commit.slice(0, 12)}`);
}

/** The files of a model and its card, its own if it has one. */
async function describe(model: string, name: string, results?: readonly string[]) {
  if (!existsSync(model))
    throw new ModelError(`${model}: no such folder, expected a run directory or a model`);
  if (!modelAddress(name)) throw new ModelError(`${name}: not a name on the Hub, expected OWNER/NAME`);
  const { base, adapter } = await findModel(model);
  const folder = adapter ?? base;
  const run = existsSync(join(model, 'metrics.jsonl')) ? model : undefined;
  const baseModel = adapter && adapterBaseName(adapter);
  const evaluated = run && existsSync(join(run, 'evaluate', 'results.json')) ? [join(run, 'evaluate')] : [];
  const ownCard = join(folder, 'README.md');
  const card = existsSync(ownCard)
    ? readFileSync(ownCard, 'utf8')
    : modelCard({
        name,
        config: readLlamaConfig(base),
        baseModel,
        isAdapter: adapter !== undefined,
        run,
        results: results ?? evaluated,
      });
  const names = (readdirSync(folder, { recursive: true }) as string[]).map((path) =>
    path.replaceAll('\\', '/'),
  );
  const files: PushedFile[] = modelFiles(names, folder).map((path) => ({
    path,
    source: { file: join(folder, path) },
  }));
  return { folder, card, files: [{ path: 'README.md', source: { text: card } }, ...files] };
}

/** The base model of an adapter, which others must be able to load. */
function adapterBaseName(adapter: string): string {
  const path = join(adapter, 'adapter_config.json');
  const base: unknown = JSON.parse(readFileSync(path, 'utf8')).base_model_name_or_path;
  if (typeof base === 'string' && modelAddress(base) && !existsSync(base)) return base;
  throw new ModelError(
    `${path}: base_model_name_or_path is ${JSON.stringify(base)}, which others cannot load, expected OWNER/NAME of the Hub`,
  );
}
