import { join } from 'node:path';
import { createLlama, parseConfig, saveLlama } from '@meap/llama-model';
import { captureOutput, type Outcome } from '@meap/recipe-cli';
import { TemporaryFolder } from '@meap/test-support';
import { type Tokenizer, trainBpeTokenizer } from '@meap/token-dataset';
import { stringify } from 'yaml';
import { finetuneCommand } from './command.ts';
import type { FinetuneConfigInput } from './config.ts';

/** A temporary folder with a tiny model, data and recipe; runs commands in this process. */
export class Workbench extends TemporaryFolder {
  readonly recipe = join(this.directory, 'tiny.yaml');

  /** Writes model, data and recipe. */
  async fill(): Promise<void> {
    this.write('data.json', JSON.stringify(alpaca(40)));
    this.write('tiny.yaml', stringify(tinyRecipe));
    await saveTinyModel(this.path('model'), await tinyTokenizer());
  }

  /** Runs `meap-finetune --config tiny.yaml …` into the folder `out`. */
  finetune(out: string, ...more: string[]): Promise<Outcome> {
    return captureOutput((io) =>
      finetuneCommand(['--config', this.recipe, '--out', this.path(out), ...more], io),
    );
  }
}

/** A tiny recipe with all features that trains in about a second. */
const tinyRecipe: FinetuneConfigInput = {
  model: { path: 'model' },
  data: { files: ['data.json'], chat_template: 'alpaca', validation_fraction: 0.2 },
  masking: { threshold: 5, ratio: 0.2 },
  train: {
    max_steps: 6,
    global_batch_size: 4,
    micro_batch_size: 2,
    max_length: 96,
    learning_rate: 1e-2,
  },
  validation: { every: 3 },
  checkpoint: { every: 2 },
  samples: { every: 3, count: 2, max_new_tokens: 4 },
};

/** Returns deterministic questions and answers of different lengths. */
function alpaca(count: number): { instruction: string; input: string; output: string }[] {
  const things = ['the whale', 'a sailor', 'the harbour', 'an island', 'the moon'];
  const deeds = ['sees', 'follows', 'fears', 'forgets'];
  return Array.from({ length: count }, (_, i) => {
    const thing = things[i % things.length];
    const deed = deeds[(i * 3 + (i >> 2)) % deeds.length];
    const sentence = `The captain ${deed} ${thing}`;
    return {
      instruction: `Say what the captain ${deed}.`,
      input: i % 3 === 0 ? thing : '',
      output: i % 4 === 0 ? 'Nothing.' : Array.from({ length: 1 + (i % 4) }, () => sentence).join(', and '),
    };
  });
}

/** Trains a byte-level BPE of 320 tokens. */
export function tinyTokenizer(): Promise<Tokenizer> {
  const documents = alpaca(40).map(({ instruction, output }) => `${instruction}\n${output}`);
  return trainBpeTokenizer({ documents, vocabSize: 320 });
}

/** Writes a model of two layers with its tokenizer as a Hugging Face folder. */
export async function saveTinyModel(
  directory: string,
  tokenizer: Tokenizer,
  changes: object = {},
): Promise<void> {
  const config = parseConfig({
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    max_position_embeddings: 128,
    tie_word_embeddings: true,
    bos_token_id: tokenizer.bosTokenId ?? null,
    eos_token_id: tokenizer.eosTokenId ?? null,
    torch_dtype: 'bfloat16',
    ...changes,
  });
  const model = createLlama(config, { seed: 1 });
  await saveLlama(directory, model);
  model.dispose();
  tokenizer.save(directory);
}
