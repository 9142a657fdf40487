import { countParameters, flopsPerToken, type LlamaConfig } from '@meap/llama-model';
import { type DocumentCounts, type SourceStatistics, unigramBitsPerByte } from '@meap/token-dataset';
import type { PretrainConfig } from '../resolve-config.ts';
import { type PreparedData, spread } from './prepare-data.ts';

/** Facts of a run that are known once its data are prepared. */
export interface RunFacts {
  model: LlamaConfig;
  parameters: number;
  flopPerToken: number;
  trainTokens: number;
  validationTokens: number;
  /** Bits per byte of a unigram model of the training tokens on the validation rows: a baseline without context. */
  unigramBitsPerByte: number;
  steps: number;
  tokensPerStep: number;
  /** The text of the mask token; undefined where random tokens replace the masked ones. */
  maskToken: string | undefined;
  /** Counts of notable documents. */
  documents: DocumentCounts;
  /** Whether special tokens in the text were parsed. */
  parsesSpecialTokens: boolean;
  /** Statistics of each source of a mix, or of the files with `data.long_documents`. */
  mix?: readonly SourceStatistics[];
}

/** Maximum tokens that the unigram model is counted on. */
const MAX_UNIGRAM_TOKENS = 16 * 1024 * 1024;

/** Describes a run from its configuration, model and data. */
export function describeRun(config: PretrainConfig, model: LlamaConfig, data: PreparedData): RunFacts {
  const { train } = config;
  const sample = spread(data.train, Math.ceil(MAX_UNIGRAM_TOKENS / data.train.blockLength));
  return {
    model,
    parameters: countParameters(model),
    flopPerToken: flopsPerToken(model, train.sequence_length),
    trainTokens: data.train.numBlocks * data.train.blockLength,
    validationTokens: data.validation.numBlocks * train.sequence_length,
    unigramBitsPerByte: unigramBitsPerByte(sample, data.validation).bitsPerByte,
    steps: train.max_steps,
    tokensPerStep: train.global_batch_size * train.sequence_length,
    maskToken: config.masking.replace_with === 'mask' ? config.tokenizer.mask_token : undefined,
    documents: data.documents,
    parsesSpecialTokens: config.data.parse_special_tokens,
    ...(data.mix && { mix: data.mix }),
  };
}
