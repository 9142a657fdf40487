import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { ChatTemplate, loadTokenizer, type Message } from '@meap/token-dataset';
import { describe, expect, test } from 'vitest';
import { ConversationEncoder } from './conversation-encoder.ts';
import type { Conversation } from './formats.ts';

const data = process.env.MEAP_DATA!;
const fixture = JSON.parse(readFileSync(new URL('../fixtures/chat-masks.json', import.meta.url), 'utf8'));

/** The conversations of fixtures/make_chat_masks.py. */
function conversations(): Conversation[] {
  const rows: { instruction: string; input: string; output: string }[] = JSON.parse(
    readFileSync(`${data}/sft/alpaca_5000.json`, 'utf8'),
  );
  return Array.from({ length: 30 }, (_, i) => {
    const messages: Message[] = i % 3 === 0 ? [{ role: 'system', content: ' Be brief.\n' }] : [];
    for (const { instruction, input, output } of rows.slice(3 * i, 3 * i + 1 + (i % 3))) {
      const question = instruction + (input ? `\n${input}` : '');
      messages.push({ role: 'user', content: question + ['', ' ', '\n\n'][i % 3] });
      messages.push({
        role: 'assistant',
        content: ['', '\n', ' '][i % 3] + output + ['\n', '', ' \n'][i % 3],
      });
    }
    return messages;
  });
}

describe.skipIf(!existsSync(`${data}/chat-templates`))('trained tokens', () => {
  test.each(fixture.cases as Record<string, string>[])(
    'are those that transformers marks: $template with $tokenizer',
    async ({ template: name, tokenizer: folder, bos, eos, old, new: replacement, ...expected }) => {
      const source = readFileSync(`${data}/chat-templates/${name}.jinja`, 'utf8');
      const tokenizer = loadTokenizer(`${data}/tokenizers/${folder}`);
      const special = { bos_token: bos, eos_token: eos };
      const spell = (text: string) => source.replace(old, () => text);
      // Without marks, the encoder finds the answers itself.
      const unmarked = replacement
        .replaceAll('{% generation %}', '{% if true %}')
        .replaceAll('{% endgeneration %}', '{% endif %}');
      for (const text of [replacement, unmarked]) {
        const encoder = new ConversationEncoder(tokenizer, new ChatTemplate(name, spell(text), special));
        const hash = createHash('sha256');
        let numTokens = 0;
        let numLearned = 0;
        for (const { segments } of await encoder.encode(conversations(), ['assistant'])) {
          const ids = segments.flatMap((segment) => Array.from(segment.ids));
          const mask = segments.flatMap((segment) =>
            Array.from(segment.ids, () => Number(segment.trainable)),
          );
          hash.update(`${ids.join()} ${mask.join()}\n`);
          numTokens += ids.length;
          numLearned += mask.reduce((sum, value) => sum + value, 0);
        }
        expect({ numTokens, numLearned, sha256: hash.digest('hex') }).toEqual(expected);
      }
    },
  );
});
