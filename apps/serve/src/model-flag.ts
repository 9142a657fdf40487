/** Help of `--model`, which every command understands alike. */
export const MODEL_HELP = 'Hugging Face folder, PEFT adapter, or run directory';
