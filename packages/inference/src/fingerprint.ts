import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Files of a model's folder that affect its output. */
const PARTS =
  /\.safetensors$|^(config|generation_config|adapter_config|tokenizer|tokenizer_config|special_tokens_map)\.json$/;

// Hashes by path, size and modification time, since weights may be large.
const hashes = new Map<string, Promise<string>>();

/**
 * Returns the SHA-256 of everything that affects a model's output: weights, configuration and tokenizer files.
 *
 * @param settings further settings, such as the precision
 */
export async function fingerprintOf(
  directories: readonly string[],
  settings: Readonly<Record<string, string>>,
): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(settings));
  for (const directory of directories) {
    const names = (await readdir(directory)).filter((name) => PARTS.test(name)).sort();
    for (const name of names) hash.update(`\n${name} ${await hashOf(join(directory, name))}`);
  }
  return hash.digest('hex');
}

async function hashOf(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  const key = `${path}\n${size}\n${mtimeMs}`;
  const hash = hashes.get(key) ?? contentHash(path);
  hashes.set(key, hash);
  return hash;
}

async function contentHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}
