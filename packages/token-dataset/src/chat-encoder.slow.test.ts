import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ChatEncoder } from './chat-encoder.ts';
import { ChatTemplate } from './chat-template.ts';
import type { Conversation, Message } from './conversation.ts';
import { loadTokenizer, Tokenizer } from './tokenizer.ts';

const data = process.env.MEAP_DATA!;
const fixture = JSON.parse(readFileSync(new URL('../fixtures/chat-ids.json', import.meta.url), 'utf8'));

const LLAMA_3 = { bos_token: '<|begin_of_text|>', eos_token: '<|end_of_text|>' };
const LLAMA_2 = { bos_token: '<s>', eos_token: '</s>' };

type Named = { tokenizer: Tokenizer; special: Record<string, string> };
const tokenizers = new Map<string, Named>();

function tokenizerOf(name: string): Named {
  const known = tokenizers.get(name) ?? loadNamed(name);
  tokenizers.set(name, known);
  return known;
}

function loadNamed(name: string): Named {
  if (name === 'chatml') {
    const json = readFileSync(`${data}/tokenizers/llama3_1/tokenizer.json`, 'utf8')
      .replaceAll('<|reserved_special_token_0|>', '<|im_start|>')
      .replaceAll('<|reserved_special_token_1|>', '<|im_end|>');
    const special = { bos_token: '<|begin_of_text|>', eos_token: '<|im_end|>' };
    return { tokenizer: new Tokenizer(json, special, name), special };
  }
  const special = name.includes('llama3') ? LLAMA_3 : LLAMA_2;
  return { tokenizer: loadTokenizer(`${data}/${name}`), special };
}

/** The conversations of fixtures/make_chat_ids.py. */
function conversations(): Conversation[] {
  const rows: { instruction: string; input: string; output: string }[] = JSON.parse(
    readFileSync(`${data}/sft/alpaca_5000.json`, 'utf8'),
  );
  const all: Message[][] = [];
  for (const [i, { instruction, input, output }] of rows.slice(0, 100).entries()) {
    const user: Message = { role: 'user', content: instruction + (input ? `\n${input}` : '') };
    let messages: Message[] = [user, { role: 'assistant', content: output }];
    if (i % 5 === 1) messages = [...all.at(-1)!.slice(-2), ...messages];
    if (i % 7 === 2) messages = [{ role: 'system', content: 'Be brief.' }, ...messages];
    if (i % 11 === 3) messages[messages.length - 1] = { role: 'assistant', content: `\n ${output} \n` };
    all.push(messages);
  }
  return all;
}

const templateOf = (path: string) => {
  const source = readFileSync(`${data}/${path}`, 'utf8');
  return path.endsWith('.json') ? JSON.parse(source).chat_template : source;
};

describe.skipIf(!existsSync(`${data}/chat-templates`))('real templates', () => {
  test.each(fixture.cases as Record<string, never>[])(
    'ids are those of transformers: $tokenizer under $template',
    async (expected) => {
      const { tokenizer, special } = tokenizerOf(expected.tokenizer);
      const template = new ChatTemplate(expected.template, templateOf(expected.template), special);
      const encoder = new ChatEncoder(tokenizer, template);
      const hash = createHash('sha256');
      let numTokens = 0;
      const first: number[] = [];
      for (const { ids } of await encoder.encodeConversations(conversations())) {
        hash.update(`${ids.join()}\n`);
        numTokens += ids.length;
        first.push(ids.length);
      }
      expect(first.slice(0, 8)).toEqual(expected.first);
      expect(numTokens).toBe(expected.numTokens);
      expect(hash.digest('hex')).toBe(expected.sha256);
      expect([...(await encoder.encodePrompt(conversations()[0].slice(0, 1)))]).toEqual(expected.prompt);
    },
  );
});
