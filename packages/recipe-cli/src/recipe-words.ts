/** The recipe keys of package options. */
const WORDS: Readonly<Record<string, string>> = {
  addBos: 'tokenizer.bos_token',
  addEos: 'tokenizer.eos_token',
  bosToken: 'tokenizer.bos_token',
  contextLength: 'extension.context_length',
  eosToken: 'tokenizer.eos_token',
  keepShorter: 'data.long_documents.keep_shorter',
  lengthUpsampling: 'data.long_documents',
  lossRoles: 'masking.loss_roles',
  maxLength: 'train.max_length',
  maxNewTokens: 'samples.max_new_tokens',
  minLength: 'data.long_documents.min_tokens',
  onBadRecord: 'data.on_bad_record',
  outputDirectory: 'data.cache_dir',
  parseSpecialTokens: 'data.parse_special_tokens',
  ropeTheta: 'extension.rope_theta',
  sequenceLength: 'train.sequence_length',
  spanLength: 'masking.span_length',
  targetModules: 'lora.target_modules',
  textField: 'data.text_field',
  thresholdUnit: 'masking.threshold_unit',
  tokenBudget: 'data.token_budget',
  validationFraction: 'data.validation_fraction',
  vocabSize: 'tokenizer.vocab_size',
};

/**
 * Translates a package's error message for users of a command: option names become recipe keys, and a leading function
 * name is removed.
 *
 * @param words further replacements, such as the command's flags
 */
export function inRecipeWords(message: string, words: Readonly<Record<string, string>> = {}): string {
  const all = { ...WORDS, ...words };
  const names = Object.keys(all).join('|');
  // lengthUpsampling.minLength is one key. Names in paths and quotes are the user's.
  const pattern = new RegExp(`(?<![\\w/.'"-])(?:lengthUpsampling\\.)?(${names})(?![\\w/'"-]|\\.\\w)`, 'g');
  return message.replace(/^[a-z]+[A-Z]\w*: /, '').replace(pattern, (_, name: string) => all[name]);
}
