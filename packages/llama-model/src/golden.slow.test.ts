import { existsSync, readFileSync } from 'node:fs';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { Tokenizer } from 'tokenizers';
import { describe, expect, test } from 'vitest';
import { generate, type Llama, loadLlama } from './index.ts';
import { backends, collect, devices, tokens } from './testing.ts';

interface Golden {
  prompt_ids: number[];
  greedy_ids: number[];
  tinystories_loss: { story_index: number; predicted_tokens: number; mean_nll: number }[];
}

const data = process.env.MEAP_DATA;
const directory = `${data}/models/stories260K`;

const onDevices = await devices();
/** In software WebGPU, a token takes .3 seconds and a story 5. */
const [DEVICE_TOKENS, DEVICE_STORIES] = [24, 2];

describe.skipIf(!existsSync(directory)).each([...backends, ...onDevices])(
  'trained weights of stories260K on %s',
  (backend) => {
    const isDevice = onDevices.some((name) => name === backend);
    async function load(): Promise<{ model: Llama; golden: Golden }> {
      await setBackend(backend);
      const golden = JSON.parse(readFileSync(`${directory}/golden.json`, 'utf8'));
      return { model: await loadLlama(directory), golden };
    }

    test('continue the prompt with the golden ids', async () => {
      const { model, golden } = await load();
      const all = golden.greedy_ids.length - golden.prompt_ids.length;
      const maxNewTokens = isDevice ? Math.min(DEVICE_TOKENS, all) : all;
      const ids = await collect(generate(model, golden.prompt_ids, { maxNewTokens }));
      expect([...golden.prompt_ids, ...ids]).toEqual(
        golden.greedy_ids.slice(0, golden.prompt_ids.length + maxNewTokens),
      );
      model.dispose();
    });

    test('have the golden losses on real stories', async () => {
      const { model, golden } = await load();
      const tokenizer = Tokenizer.fromFile(`${directory}/tokenizer.json`);
      const stories = readFileSync(`${data}/text/tinystories_2MiB.txt`, 'utf8').split('<|endoftext|>');
      const wanted = golden.tinystories_loss.slice(0, isDevice ? DEVICE_STORIES : undefined);
      for (const { story_index, predicted_tokens, mean_nll } of wanted) {
        const encoding = await tokenizer.encode(stories[story_index].trim());
        const row = encoding.getIds().slice(0, predicted_tokens + 1);
        const sum = tf.tidy(() => {
          const { sum, count } = model.loss(tokens([row.slice(0, -1)]), tokens([row.slice(1)]));
          expect(count).toBe(predicted_tokens);
          return sum;
        });
        const loss = (await sum.data())[0] / predicted_tokens;
        sum.dispose();
        expect(Math.abs(loss - mean_nll)).toBeLessThan(1e-4);
      }
      model.dispose();
    });
  },
);
