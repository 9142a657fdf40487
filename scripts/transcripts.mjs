/**
 * Runs the commands whose output the READMEs show and rewrites the blocks:
 * `pnpm run docs:transcripts [--check] [--times] [PAGE[:LINE]…]`, from the root, LINE for a single block.
 *
 * Blocks are marked as markdown-blocks.mjs describes. Those of a page run in order in one temporary folder, in which
 * every package and command of this workspace is installed. A block whose output differs only in times and the like
 * stays unchanged, except with `--times`. `--check` writes nothing and exits with status 1 if a block differs.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findBlocks, normalize, shownCommands } from './markdown-blocks.mjs';

const root = resolve(import.meta.dirname, '..');
const readJson = (...path) => JSON.parse(readFileSync(join(root, ...path), 'utf8'));
const folders = ['packages', 'apps'].flatMap((kind) =>
  readdirSync(join(root, kind)).map((name) => join(kind, name)),
);
/** The folder shown for the temporary one. */
const SHOWN_FOLDER = '/tmp/demo';

/** Every package of the workspace, and what it depends on, in `node_modules`; its commands in `bin`. */
function install(scratch) {
  const link = (name, target) => {
    const path = join(scratch, name);
    if (existsSync(path) || !existsSync(target)) return;
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(realpathSync(target), path);
  };
  const command = (name, script) =>
    writeFileSync(join(scratch, 'bin', name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  mkdirSync(join(scratch, 'bin'));
  link('recipes', join(root, 'recipes'));
  for (const folder of folders) {
    if (!existsSync(join(root, folder, 'package.json'))) continue;
    const manifest = readJson(folder, 'package.json');
    link(join('node_modules', manifest.name), join(root, folder));
    const { dependencies, peerDependencies, devDependencies } = manifest;
    for (const name of Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies })) {
      link(join('node_modules', name), join(root, folder, 'node_modules', name));
    }
    for (const [name, file] of Object.entries({ ...manifest.bin, ...manifest.publishConfig?.bin })) {
      command(name, `exec node ${join(root, folder, file)} "$@"`);
    }
  }
  // A root script without its build; `npx` of pnpm or of a command; `npm` runs scripts and installs nothing.
  const scripts = Object.entries(readJson('package.json').scripts).flatMap(([name, script]) => {
    const [, program] = / && node (.*)$/.exec(script) ?? [];
    return program === undefined ? [] : [`${name}) exec node ${root}/${program} "$@" ;;`];
  });
  command(
    'pnpm',
    `name=$1; shift; case $name in ${scripts.join(' ')} esac; echo "pnpm: no script $name" >&2; exit 1`,
  );
  command('npx', '[ "$1" = -y ] && shift; name=$(echo "$1" | sed "s/@[0-9].*//"); shift; exec "$name" "$@"');
  for (const name of ['.bin', 'typescript', '@types/node']) {
    link(join('node_modules', name), join(root, 'node_modules', name));
  }
  const node = process.execPath;
  command('node', `case $1 in apps/*|packages/*) set -- "${root}/$1" "\${@:2}" ;; esac; exec ${node} "$@"`);
  const npm = join(dirname(process.execPath), 'npm');
  command(
    'npm',
    `case $1 in create) shift 2; exec create-meap "$@" ;; run) exec ${npm} --silent "$@" ;; esac`,
  );
  writeFileSync(join(scratch, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
}

/** What `commands` print in bash; throws if they exit with another status than the expected one. */
function execute(scratch, marker, commands) {
  const setup = `{\n${marker.setup ?? ':'}\n} >setup.log 2>&1 || { cat setup.log; exit 99; }\n`;
  const { stdout, status } = spawnSync('bash', ['-c', `exec 2>&1\n${setup}${commands}`], {
    cwd: scratch,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    timeout: 3_600_000,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      PATH: `${join(scratch, 'bin')}:${process.env.PATH}`,
      XDG_CACHE_HOME: join(scratch, 'cache'),
      NO_COLOR: '1',
      MEAP_NUM_THREADS: process.env.MEAP_NUM_THREADS ?? '2',
    },
  });
  const expected = Number(marker.exit ?? 0);
  if (status !== expected) throw new Error(`exit status ${status}, expected ${expected}:\n${stdout}`);
  return stdout
    .replaceAll(scratch, SHOWN_FOLDER)
    .replaceAll(/[^\S\n]+$/gm, '')
    .replaceAll(/^\n+|\n+$/g, '')
    .split('\n');
}

/** `…` for each run of lines that the marker leaves out, but none before the first line shown and after the last. */
function elide(lines, { keep = '', drop = '(?!)' }) {
  const isShown = (line) => new RegExp(keep).test(line) && !new RegExp(drop).test(line);
  const marked = lines.map((line) => (isShown(line) ? line : '…'));
  const text = marked.filter((line, i) => line !== '…' || marked[i - 1] !== '…').join('\n');
  return text.replaceAll(/^[…\n]+|[…\n]+$/g, '').split('\n');
}

function render(scratch, block) {
  const { marker, before } = block;
  const own = shownCommands(block).split('\n');
  if (marker.run === undefined && own[0] !== '') {
    return own.flatMap((command) => [`$ ${command}`, ...elide(execute(scratch, marker, command), marker)]);
  }
  if (/^[jt]s$/.test(before?.language)) writeFileSync(join(scratch, 'program.js'), before.lines.join('\n'));
  const shown = before?.language === 'sh' ? shownCommands(before) : 'node program.js';
  return elide(execute(scratch, marker, marker.run ?? shown), marker);
}

/** Environment variables, paths and commands that a marker needs and that are not there. */
function missing({ needs = '' }) {
  const isThere = (name) => {
    if (/^[A-Z_]+$/.test(name)) return process.env[name] !== undefined;
    if (name.includes('/')) return existsSync(name);
    return process.env.PATH.split(':').some((folder) => existsSync(join(folder, name)));
  };
  return needs.split(/\s+/).filter((name) => name !== '' && !isThere(name));
}

/** Runs the blocks of a page, in order; returns how many failed, or with `check` differ. */
function refresh(page, lineNumber, { check, times }) {
  const path = join(root, page);
  const text = readFileSync(path, 'utf8');
  const blocks = findBlocks(text, page).filter(
    ({ marker, at, end }) =>
      marker && !marker.skip && (!lineNumber || (at < lineNumber && lineNumber <= end + 1)),
  );
  if (blocks.length === 0) return 0;
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'meap-transcripts-')));
  install(scratch);
  let numProblems = 0;
  for (const block of blocks) {
    const say = (result) => console.log(`${page}:${block.at + 1}  ${result}`);
    const absent = missing(block.marker);
    if (absent.length > 0) {
      say(`skipped: no ${absent.join(', ')}`);
      continue;
    }
    try {
      const output = render(scratch, block);
      if (!times && normalize(output.join('\n')) === normalize(block.lines.join('\n'))) {
        say('same');
      } else if (check) {
        numProblems++;
        say(`differs:\n${output.join('\n')}`);
      } else {
        say('rewritten');
        // The page may have been edited in the meantime.
        const [first, ...rest] = text.split('\n').slice(block.at, block.end + 1);
        const lines = output.map((line) => (line === '' ? '' : block.indent + line));
        const edited = [first, ...lines, rest.at(-1)].join('\n');
        writeFileSync(
          path,
          readFileSync(path, 'utf8').replace([first, ...rest].join('\n'), () => edited),
        );
      }
    } catch (error) {
      numProblems++;
      say(`failed: ${error.message}`);
    }
  }
  // Servers that blocks left running.
  spawnSync('bash', ['-c', 'cat *.pid | xargs -r kill'], { cwd: scratch, stdio: 'ignore' });
  rmSync(scratch, { recursive: true, force: true });
  return numProblems;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { check: { type: 'boolean', default: false }, times: { type: 'boolean', default: false } },
});
const pages = ['README.md', ...folders.map((folder) => join(folder, 'README.md'))];
const wanted = positionals.length > 0 ? positionals : pages.filter((page) => existsSync(join(root, page)));
for (const argument of wanted) {
  const [, page, lineNumber] = /^(.*?)(?::(\d+))?$/.exec(argument);
  const shown = relative(root, resolve(root, page));
  if (!existsSync(join(root, shown))) {
    console.error(
      `docs:transcripts: page: got ${page}, expected a Markdown file, with its path from the root`,
    );
    process.exit(2);
  }
  if (refresh(shown, Number(lineNumber ?? 0), values) > 0) process.exitCode = 1;
}
