import { HubError } from './errors.ts';

const TOKENIZER =
  /^(tokenizer(_config)?\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt|bpe)|merges\.txt|chat_template\.(jinja|json)|additional_chat_templates\/[^/]+\.jinja|tokenizer\.model(\.v\d+)?|spiece\.model|sentencepiece(\.bpe)?\.model|tekken\.json|[\w-]+\.tiktoken)$/;
const CONFIGURATION = /^(config|generation_config)\.json$/;
const WEIGHTS = /^model(-\d+-of-\d+)?\.safetensors$/;
const INDEX = 'model.safetensors.index.json';
const ADAPTER = /^adapter_(config\.json|model\.safetensors)$/;

/** Selects the files of a tokenizer. */
export function tokenizerFiles(files: readonly string[], shown: string): string[] {
  const found = files.filter((file) => TOKENIZER.test(file));
  if (found.length > 0) return found;
  throw new HubError(`${shown}: has no tokenizer, got ${listed(files)}, expected tokenizer.json`);
}

/**
 * Selects the files of a model that are read: configuration, weights in safetensors or a PEFT adapter, tokenizer.
 *
 * @throws HubError if there are none
 */
export function modelFiles(files: readonly string[], shown: string): string[] {
  const select = (pattern: RegExp) => files.filter((file) => pattern.test(file));
  const adapter = select(ADAPTER);
  const isAdapter = adapter.includes('adapter_config.json');
  const weights = isAdapter ? adapter : select(WEIGHTS);
  if (weights.length === 0 || (isAdapter && weights.length < 2)) {
    throw new HubError(
      `${shown}: has no weights in safetensors, got ${listed(files)}; expected model.safetensors, its shards, or ` +
        'adapter_model.safetensors. Take a repository or a revision that has them, such as refs/pr/N, or download it and ' +
        'convert pytorch_model.bin with meap-convert --from pytorch',
    );
  }
  const isSharded = weights.some((file) => file.includes('-of-'));
  const shards = isSharded ? weights.filter((file) => file.includes('-of-')) : weights;
  const index = isSharded && !isAdapter ? files.filter((file) => file === INDEX) : [];
  return [...select(CONFIGURATION), ...index, ...shards, ...select(TOKENIZER)];
}

function listed(files: readonly string[]): string {
  if (files.length === 0) return 'no files';
  return `${files.slice(0, 8).join(', ')}${files.length > 8 ? ` and ${files.length - 8} more` : ''}`;
}
