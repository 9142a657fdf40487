/** Options of the packages by the keys of a recipe, which are what users of the commands know. */
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
 * A message of a package in the words of a command: its option names become the keys that the user typed, and the name
 * of a function in front goes.
 *
 * @param words names that this command has others for, such as its flags
 */
export function inRecipeWords(message: string, words: Readonly<Record<string, string>> = {}): string {
  const all = { ...WORDS, ...words };
  const names = Object.keys(all).join('|');
  // An option of another: lengthUpsampling.minLength is one key. What stands in a path or in quotes is the user's.
  const pattern = new RegExp(`(?<![\\w/.'"-])(?:lengthUpsampling\\.)?(${names})(?![\\w/'"-]|\\.\\w)`, 'g');
  return message.replace(/^[a-z]+[A-Z]\w*: /, '').replace(pattern, (_, name: string) => all[name]);
}
