/** The command line of `create-meap`, as a function from arguments to an exit code. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CreateError, createProject } from './create-project.ts';
import { packageManagerOf, runScript } from './package-manager.ts';

/** The output streams of the command. */
interface Output {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

const HELP = `Usage: npm create meap@latest FOLDER   (create-meap FOLDER)

Creates a project that pre-trains a small LLaMA with MEAP: a recipe, scripts, and an objective in TypeScript.

Options:
  --version  print the version
  --help     print this help
`;

/** Runs `create-meap`; returns the exit code: 0 success, 1 failure, 2 usage error. */
export function createMeap(argv: readonly string[], { stdout, stderr }: Output = process): number {
  const fail = (message: string, code: number) => {
    stderr.write(`create-meap: ${message}\n`);
    return code;
  };
  let values: { help?: boolean; version?: boolean };
  let positionals: string[];
  try {
    const options = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } } as const;
    ({ values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true }));
  } catch (error) {
    return fail((error as Error).message, 2);
  }
  const version = ownVersion();
  if (values.help || values.version) {
    stdout.write(values.help ? HELP : `${version}\n`);
    return 0;
  }
  const [folder] = positionals;
  if (folder === undefined || folder === '' || positionals.length > 1) {
    const got = folder ? `${positionals.length} (${positionals.join(', ')})` : 'none';
    return fail(`folders: got ${got}, expected one; run npm create meap@latest my-run`, 2);
  }
  const manager = packageManagerOf(process.env.npm_config_user_agent);
  try {
    const { files } = createProject(folder, { version, manager });
    const enter =
      folder === '.' ? [] : [`cd ${/^[\w./~+@-]+$/.test(folder) ? folder : JSON.stringify(folder)}`];
    const next = [...enter, `${manager} install`, runScript(manager, 'dry-run'), runScript(manager, 'train')];
    stdout.write(
      `created      ${folder}: ${files.join(', ')}\nnext\n${next.map((line) => `  ${line}\n`).join('')}`,
    );
    return 0;
  } catch (error) {
    if (!(error instanceof CreateError)) throw error;
    return fail(error.message, 1);
  }
}

/** The version of all packages, which are released together. */
function ownVersion(): string {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;
}
