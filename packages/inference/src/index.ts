export { type ChatModel, streamAnswer } from './chat-answers.ts';
export { chatFormatOf, openChatTemplate } from './chat-format.ts';
export { type ChatPrompts, type OpenedChat, openChatPrompts } from './chat-prompts.ts';
export { encodePrompt } from './encode-prompt.ts';
export { ModelError, modelErrors } from './errors.ts';
export {
  type FindModelOptions,
  findAdapter,
  findModel,
  localFolder,
  type ModelDirectory,
  modelName,
} from './find-model.ts';
export { type ReadGgufOptions, readGguf } from './gguf/read-gguf.ts';
export type { GgufType } from './gguf/tensor-types.ts';
export { type WriteGgufOptions, type WrittenGguf, writeGguf } from './gguf/write-gguf.ts';
export {
  ConstrainedTexts,
  type ConstraintOptions,
  type OpenGrammar,
  VocabularyError,
} from './grammar/constrained-texts.ts';
export type { Grammar } from './grammar/grammar.ts';
export { anyObject, schemaGrammar } from './grammar/json-schema.ts';
export { SchemaError } from './grammar/schema-keywords.ts';
export { type CallableFunction, optionalToolCallGrammar, toolCallGrammar } from './grammar/tool-grammar.ts';
export {
  type FullLanguageModel,
  languageModelOf,
  type ModelInMemory,
  type OpenLanguageModel,
  type OpenLanguageModelOptions,
  openLanguageModel,
} from './language-model.ts';
export { type ComputeOptions, loadModel, loadWithAdapters, type SharedModel } from './load-model.ts';
export { type ConvertPytorchOptions, convertPytorch } from './pytorch/convert-pytorch.ts';
export { openRemoteChatModel, type RemoteChatModel, type RemoteChatOptions } from './remote-chat-model.ts';
export { openRemoteModel, type RemoteModel, type RemoteModelOptions } from './remote-model.ts';
export { createSampler, laterSeed, type Sample, type SamplePrompt, type SamplerOptions } from './sampler.ts';
export { type DisposableTokenizer, openTextTokenizer } from './text-tokenizer.ts';
export { tokenText } from './token-text.ts';
export { TokenTexts } from './token-texts.ts';
export { type AnswerPart, type GeneratedCall, type ToolCallForm, ToolCallScanner } from './tool-calls.ts';
export { yieldToEventLoop } from './yield-to-event-loop.ts';
