import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigurationError } from '@meap/recipe-cli';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { ReadSettings } from './read-request.ts';
import { RequestProcesses } from './request-process.ts';
import { tinyTokenizer } from './testing.ts';

const settings: ReadSettings = {
  name: 'tiny',
  vocabularySize: 320,
  contextLength: 128,
  maxSequences: 8,
  addSpecialTokens: true,
};
const { signal } = new AbortController();

async function open(template: string, chatTemplate?: string): Promise<RequestProcesses> {
  const directory = mkdtempSync(join(tmpdir(), 'request-process-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  tinyTokenizer.save(directory);
  writeFileSync(join(directory, 'chat_template.jinja'), template);
  const requests = await RequestProcesses.open({ directory, chatTemplate });
  onTestFinished(() => requests.close());
  return requests;
}

const body = (fields: object) => Buffer.from(JSON.stringify(fields));
const ask = (content: string) => body({ messages: [{ role: 'user', content }] });

// Exceeds V8's maximum array length, which ends the process, also from a worker thread.
const BOMB =
  "{% set ns = namespace(s=',') %}{% for message in messages %}{% if message['content'] == 'bomb' %}" +
  "{% for i in range(27) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s.split(',') | length }}{% endif %}" +
  "{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}";

test('a template that ends its process fails only its request', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  onTestFinished(() => log.mockRestore());
  const requests = await open(BOMB);
  expect(requests.chatStopIds).toEqual([1]);
  const bomb = requests.chat(ask('bomb'), settings, signal);
  const others = [
    requests.chat(ask('hello'), settings, signal),
    requests.completion(body({ prompt: 'The captain' }), settings, signal),
  ];
  const refusal = { status: 400, param: 'messages', code: 'request_too_complex' };
  await expect(bomb).rejects.toMatchObject(refusal);
  const [chat, completion] = await Promise.all(others);
  expect(chat.prompts[0].ids.at(-1)).toBe(1);
  expect([...completion.prompts[0].ids]).toEqual([...(await tinyTokenizer.encode('The captain'))]);
  expect(log).toHaveBeenCalledWith(
    expect.stringMatching(/^a request's messages ended the process that parses/),
  );
});

test('large bodies do not delay small ones, and cancelled ones delay none', async () => {
  const requests = await open('{% for message in messages %}{{ message.content + eos_token }}{% endfor %}');
  const cancel = new AbortController();
  const order: string[] = [];
  const record = (name: string) => () => order.push(name);
  const large = ['first', 'second', 'third'].map((name) =>
    requests
      .completion(body({ prompt: 'The captain '.repeat(400_000) }), settings, cancel.signal)
      .catch(record(name)),
  );
  const small = requests.completion(body({ prompt: 'a' }), settings, signal).then(record('small'));
  await small;
  cancel.abort(new Error('left'));
  await Promise.all(large);
  expect(order).toEqual(['small', 'first', 'second', 'third']);
  const next = await requests.completion(body({ prompt: 'a' }), settings, signal);
  expect(next.prompts).toHaveLength(1);
});

test('reports errors during start', async () => {
  await expect(open('{{ x', 'nope')).rejects.toThrow(ConfigurationError);
  await expect(RequestProcesses.open({ directory: '/nowhere' })).rejects.toThrow(/no such file/);
  const closed = await open('{% for m in messages %}{{ m.content + eos_token }}{% endfor %}');
  const pending = closed.completion(body({ prompt: 'a' }), settings, signal);
  closed.close();
  await expect(pending).rejects.toMatchObject({ status: 503 });
});
