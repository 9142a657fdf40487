/** Whether a fine-tuning run fits this machine, before any weight is loaded. */
import { fusesBlocks, type LlamaConfig } from '@meap/llama-model';
import { estimateMemory, type MemoryPlan, planMemory, type StepShape } from '@meap/recipe-cli';

/** A step, and what could be changed about it. */
export interface PlannedStep extends Omit<StepShape, 'base' | 'fused'> {
  /** Whether a micro-batch has more than one conversation. */
  canSplit: boolean;
  /** Whether there are adapters. */
  lora: boolean;
  /** Whether they learn embeddings of a tied head, of which the loss then holds a copy in float32. */
  copiesHead: boolean;
  /** Whether they learn whole tables. */
  learnsTables: boolean;
  /** `train.memory_limit_gib`. */
  limitGib?: number;
  /** Ranks that share the machine; 1 by default. */
  numLocalRanks?: number;
}

/** Node.js, TensorFlow.js, tokenizer, data and what the collector has not got to yet, measured. */
const BASE_BYTES = 350 * 1024 * 1024;

/** Estimates the memory of fine-tuning. */
export function planFinetuning(model: LlamaConfig, step: PlannedStep): MemoryPlan {
  const headBytes = step.copiesHead ? 4 * model.vocab_size * model.hidden_size : 0;
  const fused = !step.lora && fusesBlocks();
  const added = step.lora ? step.trained : 0;
  const estimate = estimateMemory(model, { ...step, added, fused, base: BASE_BYTES + headBytes });
  const remedies = [
    ...(step.lora ? [] : ['lora']),
    ...(step.learnsTables ? ['no lora.modules_to_save'] : []),
    ...(step.recompute ? [] : ['train.recompute']),
    ...(step.canSplit ? ['a smaller train.micro_batch_size'] : []),
    'a shorter train.max_length',
  ];
  return planMemory(estimate, { limitGib: step.limitGib, numLocalRanks: step.numLocalRanks, remedies });
}

/** Values in the thin matrices of an adapter, and in the embeddings and tables that it learns. */
export function countLoraParameters(
  model: LlamaConfig,
  {
    rank,
    target_modules: targets,
    modules_to_save: tables = [],
  }: { rank: number; target_modules?: string | readonly string[]; modules_to_save?: readonly string[] },
  numLearnedTokens: number,
): number {
  const { hidden_size: hidden, intermediate_size: feedForward } = model;
  const query = model.num_attention_heads * model.head_dim;
  const keyValue = model.num_key_value_heads * model.head_dim;
  const sizes: Record<string, number> = {
    q_proj: hidden + query,
    k_proj: hidden + keyValue,
    v_proj: hidden + keyValue,
    o_proj: query + hidden,
    gate_proj: hidden + feedForward,
    up_proj: hidden + feedForward,
    down_proj: feedForward + hidden,
  };
  const chosen = typeof targets === 'object' ? targets : Object.keys(sizes);
  const numTables = model.tie_word_embeddings ? Math.min(1, tables.length) : new Set(tables).size;
  const block = [...new Set(chosen)].reduce((sum, target) => sum + sizes[target], 0);
  const numRows = numLearnedTokens + numTables * model.vocab_size;
  return model.num_hidden_layers * rank * block + numRows * hidden;
}
