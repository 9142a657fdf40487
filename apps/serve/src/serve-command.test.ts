import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addLora, saveLlama, saveLora } from '@meap/llama-model';
import { captureOutput } from '@meap/recipe-cli';
import { expect, onTestFinished, test } from 'vitest';
import { serveCommand } from './serve-command.ts';
import { tinyModel, tinyTokenizer, until } from './server/testing.ts';

async function modelFolder(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'serve-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  await saveLlama(folder, tinyModel, { dtype: 'float32' });
  tinyTokenizer.save(folder);
  return folder;
}

/** Writes a new adapter of a model, with a tokenizer of its own. */
async function adapterFolder(base: string): Promise<string> {
  const folder = join(base, 'adapter');
  const model = tinyModel.share();
  addLora(model, { rank: 1, seed: 0 });
  await saveLora(folder, model, { baseModel: base });
  model.dispose();
  tinyTokenizer.save(folder);
  return folder;
}

test('serves until a signal', async () => {
  const folder = await modelFolder();
  process.env.SERVE_TEST_KEY = 'key';
  onTestFinished(() => {
    delete process.env.SERVE_TEST_KEY;
  });
  let url: string | undefined;
  const argv = [
    '--model',
    folder,
    '--port',
    '0',
    '--name',
    'mine',
    '--api-key-env',
    'SERVE_TEST_KEY',
    '--chat-template',
    'alpaca',
    '--adapter',
    `german=${await adapterFolder(folder)}`,
  ];
  const ended = captureOutput(({ stdout, stderr }) => {
    const write = (text: string) => {
      url ??= /listening +(\S+)/.exec(text)?.[1];
      return stdout.write(text);
    };
    return serveCommand(argv, { stdout: { ...stdout, write } as NodeJS.WriteStream, stderr });
  });
  await until(() => url !== undefined);
  const models = await fetch(`${url}/models`, { headers: { authorization: 'Bearer key' } });
  expect(await models.json()).toMatchObject({ data: [{ id: 'mine' }, { id: 'german', parent: 'mine' }] });
  expect((await fetch(`${url}/models`)).status).toBe(401);
  const chat = await fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer key', 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'german',
      messages: [{ role: 'user', content: 'Who sees </s>?' }],
      max_tokens: 2,
    }),
  });
  expect(chat.status).toBe(200);
  process.emit('SIGTERM', 'SIGTERM');
  expect(await ended).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      /^backend .*\nmodel +mine, context 128\nadapter +german\nchat +alpaca; answers end with <\/s>\nlistening .*\nSIGTERM: finishing/,
    ),
    stderr: '',
  });
  await expect(fetch(`${url}/models`)).rejects.toThrow();
});

test.each([
  [['--model', 'nowhere'], 1, /^meap-serve: model nowhere: no such folder/],
  [['--host', '0.0.0.0'], 2, /is reachable from other machines, expected a loopback address or an API key/],
  [['--api-key-env', 'NO_SUCH_KEY'], 2, /--api-key-env NO_SUCH_KEY: the variable is not set/],
  [['--port', '70000'], 2, /expected an integer from 0 to 65535/],
  [['--chat-template', 'nope'], 2, /--chat-template nope: no such template or file, expected one of chatml/],
  [['--max-batch', '0'], 2, /expected an integer of at least 1/],
  [['--adapter', 'german'], 2, /expected NAME=DIR, such as german=runs\/german\/adapter/],
  [['--adapter', 'a=x', '--adapter', 'a=y'], 2, /a is given twice, expected another name/],
  [['--name', 'a', '--adapter', 'a=x'], 2, /--adapter a: is the model's name, expected another; --name/],
  [['--adapter', 'a=nowhere'], 1, /^meap-serve: adapter nowhere: no such folder, expected a PEFT adapter/],
])('refuses %j', async (flags, code, message) => {
  const argv = ['--model', await modelFolder(), '--port', '0', ...flags];
  const outcome = await captureOutput((io) => serveCommand(argv, io));
  expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
});

test('a port in use is reported', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void other.close());
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const argv = ['--model', await modelFolder(), '--port', String(port)];
  const { code, stderr } = await captureOutput((io) => serveCommand(argv, io));
  expect(stderr).toBe(
    `meap-serve: --host 127.0.0.1 --port ${port}: port is in use, expected a free port; choose another, or 0 for any free port\n`,
  );
  expect(code).toBe(1);
});
