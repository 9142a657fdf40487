/** Estimates whether a fine-tuning run fits this machine, before loading weights. */
import { fusesBlocks, type LlamaConfig, parameterShapes } from '@meap/llama-model';
import { estimateMemory, type MemoryPlan, planMemory, type StepShape } from '@meap/recipe-cli';
import { describeBackend, type QuantizedFormat } from '@meap/tensor-kernels';

/** The shape of a step, and options that could reduce its memory. */
export interface PlannedStep extends Omit<StepShape, 'base' | 'fused'> {
  /** Whether micro-batches have more than one conversation. */
  canSplit: boolean;
  /** Whether adapters are trained. */
  lora: boolean;
  /** `model.quantize`. */
  quantize?: QuantizedFormat;
  /** Whether the loss needs a float32 copy of the head: adapters train embeddings of a tied head. */
  copiesHead: boolean;
  /** Bytes of the table that is copied when the merged model is written: one in bfloat16 with trained rows; else 0. */
  copiedTable: number;
  /** Whether adapters train whole tables. */
  learnsTables: boolean;
  /** `train.memory_limit_gib`. */
  limitGib?: number;
  /** Ranks that share the machine; 1 by default. */
  numLocalRanks?: number;
}

/** Measured memory of Node.js, TensorFlow.js, tokenizer, data and uncollected garbage. */
const BASE_BYTES = 350 * 1024 * 1024;

/** Estimates the memory of fine-tuning, with the backend in use. */
export function planFinetuning(model: LlamaConfig, step: PlannedStep): MemoryPlan {
  const headBytes = step.copiesHead ? 4 * model.vocab_size * model.hidden_size : 0;
  const fused = !step.lora && fusesBlocks(model);
  const added = step.lora ? step.trained : 0;
  const estimate = estimateMemory(model, { ...step, added, fused, base: BASE_BYTES + headBytes });
  // The model is written after training, without gradients and activations.
  const { gradients, activations } = estimate;
  estimate.total += Math.max(0, step.copiedTable - gradients - activations);
  const remedies = [
    ...(step.lora ? [] : ['lora']),
    ...(step.lora && step.quantize !== 'nf4' ? ['model.quantize: nf4'] : []),
    ...(step.learnsTables ? ['no lora.modules_to_save'] : []),
    ...(step.recompute ? [] : ['train.recompute']),
    ...(step.canSplit ? ['a smaller train.micro_batch_size'] : []),
    'a shorter train.max_length',
  ];
  const { limitGib, numLocalRanks } = step;
  const onDevice = describeBackend().hasOwnMemory;
  return planMemory(estimate, { limitGib, numLocalRanks, onDevice, remedies });
}

/** Numbers that the linear layers of a block read and return per token, by the names of `lora.target_modules`. */
function adaptedSizes(
  model: LlamaConfig,
  { target_modules: targets }: { target_modules?: string | readonly string[] },
): [inputs: number, outputs: number][] {
  const { hidden_size: hidden, intermediate_size: feedForward } = model;
  const query = model.num_attention_heads * model.head_dim;
  const keyValue = model.num_key_value_heads * model.head_dim;
  const sizes: Record<string, [inputs: number, outputs: number]> = {
    q_proj: [hidden, query],
    k_proj: [hidden, keyValue],
    v_proj: [hidden, keyValue],
    o_proj: [query, hidden],
    gate_proj: [hidden, feedForward],
    up_proj: [hidden, feedForward],
    down_proj: [feedForward, hidden],
  };
  const chosen = typeof targets === 'object' ? targets : Object.keys(sizes);
  return [...new Set(chosen)].map((target) => sizes[target]);
}

/** Returns how many numbers per token the adapted layers of a block return. */
export function adaptedOutputs(model: LlamaConfig, lora: Parameters<typeof adaptedSizes>[1]): number {
  return adaptedSizes(model, lora).reduce((sum, [, outputs]) => sum + outputs, 0);
}

/** Counts the parameters of an adapter: matrices, magnitudes, and trained embeddings, tables and norms. */
export function countLoraParameters(
  model: LlamaConfig,
  lora: {
    rank: number;
    target_modules?: string | readonly string[];
    modules_to_save?: readonly string[];
    use_dora?: boolean;
  },
  numLearnedTokens: number,
): number {
  const { rank, modules_to_save: modules = [] } = lora;
  const matrices = adaptedSizes(model, lora).reduce((sum, sizes) => sum + rank * (sizes[0] + sizes[1]), 0);
  const block = matrices + (lora.use_dora ? adaptedOutputs(model, lora) : 0);
  const tables = new Set(modules.filter((module) => module !== 'norm'));
  const numTables = model.tie_word_embeddings ? Math.min(1, tables.size) : tables.size;
  const numRows = numLearnedTokens + numTables * model.vocab_size;
  const norms = [...parameterShapes(model)].filter(([name]) => name.endsWith('norm.weight'));
  const numNorms = modules.includes('norm') ? norms.reduce((sum, [, [width]]) => sum + width, 0) : 0;
  return model.num_hidden_layers * block + numRows * model.hidden_size + numNorms;
}
