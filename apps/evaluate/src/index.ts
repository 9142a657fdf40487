export { ModelError } from './errors.ts';
export {
  type OpenLanguageModel,
  type OpenLanguageModelOptions,
  openLanguageModel,
} from './llama-language-model.ts';
