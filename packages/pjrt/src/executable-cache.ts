import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { PjrtError } from './errors.ts';

/** Raised when the format of the files changes. */
const VERSION = 1;
/** The environment variables that compilers read. */
const VARIABLES = ['XLA_FLAGS', 'LIBTPU_INIT_ARGS', 'TF_XLA_FLAGS', 'XLA_FFI_FLAGS'];
const DIGEST_BYTES = 32;

/**
 * One executable on disk. The file's name is a hash of all that the executable depends on; the file is a SHA-256 digest
 * and the plugin's serialization. Files appear whole, so that processes can share the folder.
 */
export class ExecutableCache {
  readonly #path: string;

  /** @param key what the executable depends on, beside the environment and this machine's processor */
  constructor(directory: string, key: readonly (string | Uint8Array)[]) {
    const hash = createHash('sha256');
    const environment = VARIABLES.map((name) => process.env[name] ?? null);
    for (const part of [JSON.stringify([VERSION, process.arch, processor(), environment]), ...key]) {
      hash.update(`${part.length}:`).update(part);
    }
    this.#path = join(directory, `${hash.digest('hex')}.pjrt`);
  }

  /** Returns the executable; undefined if there is none, or a damaged one. */
  async read(): Promise<Uint8Array | undefined> {
    const file = await readFile(this.#path).catch(() => undefined);
    if (!file) return undefined;
    const body = file.subarray(DIGEST_BYTES);
    return digest(body).equals(file.subarray(0, DIGEST_BYTES)) ? body : undefined;
  }

  /** Stores an executable. What goes wrong is a warning: the executable itself is usable. */
  async write(serialize: () => Promise<Uint8Array>): Promise<void> {
    const temporary = `${this.#path}.${randomUUID()}.tmp`;
    try {
      const body = await serialize();
      await mkdir(join(this.#path, '..'), { recursive: true });
      await writeFile(temporary, Buffer.concat([digest(body), body]));
      await rename(temporary, this.#path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      if (error instanceof PjrtError && error.code === 'UNIMPLEMENTED') return;
      process.emitWarning(`compile: the executable was not cached: ${(error as Error).message}`);
    }
  }
}

function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** The processor's model and instruction sets: XLA's CPU code is compiled for them. */
function processor(): string {
  const model = cpus()[0]?.model ?? '';
  const path = '/proc/cpuinfo';
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return `${model} ${/^(flags|Features)\s*:.*$/m.exec(text)?.[0] ?? ''}`;
}
