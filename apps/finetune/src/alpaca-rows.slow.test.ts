/** Three hundred Alpaca conversations with the tokenizer and template of Llama 3, token by token. */
import { existsSync, readFileSync } from 'node:fs';
import { createDuplicator, TokenKind } from '@meap/sft-duplication';
import { addMaskToken, ChatTemplate, loadTokenizer } from '@meap/token-dataset';
import { describe, expect, it } from 'vitest';
import { ConversationEncoder } from './conversation-encoder.ts';
import { toConversation } from './formats.ts';

const data = process.env.MEAP_DATA!;
const EOT = 128009;

describe.skipIf(!existsSync(`${data}/sft`))('Alpaca under Llama 3', () => {
  it('only answer tokens are masked, in the exact number, and only answers are trained on', async () => {
    const tokenizer = addMaskToken(loadTokenizer(`${data}/tokenizers/llama3_1`));
    expect(tokenizer.maskTokenId).toBe(128256);
    const source = readFileSync(`${data}/chat-templates/llama-3-instruct.jinja`, 'utf8');
    const special = { bos_token: '<|begin_of_text|>', eos_token: '<|end_of_text|>' };
    const encoder = new ConversationEncoder(tokenizer, new ChatTemplate('llama-3', source, special));
    expect(encoder.endOfAnswerId).toBe(EOT);
    const records: Record<string, string>[] = JSON.parse(
      readFileSync(`${data}/sft/alpaca_5000.json`, 'utf8'),
    );
    const chosen = records.slice(0, 300).filter(({ output }) => output.trim() !== '');
    const samples = await encoder.encode(
      chosen.map((record) => toConversation(record, 'alpaca')),
      ['assistant'],
    );
    const duplicator = createDuplicator({
      maskId: 128256,
      specialIds: encoder.specialIds,
      maxLength: 4096,
      layout: 'separate-rows',
    });
    let copies = 0;
    for (const [index, sample] of samples.entries()) {
      const answer = sample.segments
        .filter(({ trainable }) => trainable)
        .flatMap(({ ids }) => Array.from(ids));
      const prompt = sample.segments.slice(
        0,
        sample.segments.findIndex(({ trainable }) => trainable),
      );
      const numPrompt = prompt.reduce((sum, { ids }) => sum + ids.length, 0);
      expect(answer.at(-1)).toBe(EOT);
      expect((await tokenizer.decode(answer.slice(0, -1))).trim()).toBe(chosen[index].output.trim());
      const numAnswer = answer.length - 1;
      const { rows } = duplicator.duplicate(sample, { epoch: 0, index });
      expect(rows).toHaveLength(numAnswer > 50 ? 2 : 1);
      const [original, copy] = rows;
      const learned = Array.from(original.targets).filter((_, i) => original.lossMask[i]);
      expect(learned).toEqual(answer);
      if (!copy) continue;
      copies++;
      const masked: number[] = [];
      for (const [position, id] of copy.inputs.entries()) {
        if (id !== 128256) {
          expect(id).toBe(original.inputs[position]);
          continue;
        }
        masked.push(position);
        expect(position).toBeGreaterThanOrEqual(numPrompt);
        expect(position).toBeLessThan(numPrompt + numAnswer);
        expect(encoder.specialIds).not.toContain(original.inputs[position]);
        expect([copy.kinds[position - 1], copy.lossMask[position - 1]]).toEqual([TokenKind.masked, 1]);
      }
      expect(masked).toHaveLength(Math.max(1, Math.floor(numAnswer / 10)));
      expect(copy.lossMask.reduce((sum, value) => sum + value, 0)).toBe(masked.length);
    }
    expect(copies).toBeGreaterThan(90);
  });
});
