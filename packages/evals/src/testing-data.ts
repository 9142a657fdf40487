/** Real texts and tokenizers of the folder in MEAP_DATA, for tests. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';
import type { GenerateRequest, TextTokenizer } from './language-model.ts';
import type { Task, TaskItem } from './task.ts';

/** Records of a file of JSON lines, possibly compressed (`.gz`). */
export function jsonLines(path: string): unknown[] {
  const bytes = readFileSync(`${process.env.MEAP_DATA}/${path}`);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

let readEssays: string[] | undefined;
const readTokenizers = new Map<string, TextTokenizer>();

/** Paul Graham's essays, sorted by file name. */
export function essays(): string[] {
  if (readEssays) return readEssays;
  const folder = `${process.env.MEAP_DATA}/needle/PaulGrahamEssays`;
  const names = readdirSync(folder).sort();
  readEssays = names.map((name) => readFileSync(`${folder}/${name}`, 'utf8'));
  return readEssays;
}

/** A tokenizer of `tokenizers/`, by another implementation than that of the fixtures. */
export function realTokenizer(name: 'llama2' | 'llama3_1'): TextTokenizer {
  const read = readTokenizers.get(name);
  if (read) return read;
  const folder = `${process.env.MEAP_DATA}/tokenizers/${name}`;
  const [json, config] = ['tokenizer.json', 'tokenizer_config.json'].map((file) =>
    JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')),
  );
  const tokenizer = new Tokenizer(json, config);
  const own: TextTokenizer = {
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
    decode: (ids) =>
      tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
  };
  readTokenizers.set(name, own);
  return own;
}

/** Name of a prompt in the fixtures. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Contents of a JSON file. */
export function jsonValue(path: string): unknown {
  return JSON.parse(readFileSync(`${process.env.MEAP_DATA}/${path}`, 'utf8'));
}

/** Rows of a task with the hashes of their prompts, which the tokenizer intercepts. */
export function* hashedPrompts(task: Task, tokenizer: TextTokenizer): Generator<[hash: string, TaskItem]> {
  let last = '';
  const watched: TextTokenizer = {
    encode: (text) => {
      last = text;
      return tokenizer.encode(text);
    },
    decode: (ids) => tokenizer.decode(ids),
  };
  for (const item of task.items({ tokenizer: watched, contextLength: 1_000_000 })) {
    if (item.ask.kind !== 'skip') yield [shortHash(last), item];
  }
}

/** The only request of a row that generates text. */
export function onlyRequest({ ask, id }: TaskItem): GenerateRequest {
  if (ask.kind !== 'generate' || ask.requests.length !== 1) throw new Error(`row ${id} asks ${ask.kind}`);
  return ask.requests[0];
}
