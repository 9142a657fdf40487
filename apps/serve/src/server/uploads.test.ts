import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Uploads } from './uploads.ts';

const KIB = 1024;
const chunk = (kib: number) => Buffer.alloc(kib * KIB, 'x');
const turn = () => new Promise(setImmediate);

function open(uploads: Uploads, limit = 1000 * KIB, contentLength?: number) {
  const stream = new PassThrough();
  const outcome = uploads.receive(stream, limit, contentLength).then(
    (upload) => upload,
    (error) => error,
  );
  return { stream, outcome };
}

test('a body in chunks', async () => {
  const { stream, outcome } = open(new Uploads(0));
  stream.write('{"prompt"');
  stream.end(': "a"}');
  expect((await outcome).bytes.toString()).toBe('{"prompt": "a"}');
});

test('refuses a body that is too long, from its content length or while reading', async () => {
  const uploads = new Uploads(1000 * KIB);
  expect(await open(uploads, 100, 101).outcome).toMatchObject({ status: 413 });
  const { stream, outcome } = open(uploads, 100);
  stream.write(chunk(1));
  expect(await outcome).toMatchObject({ status: 413, message: expect.stringMatching(/at most/) });
  // The rest is read and discarded.
  for (let i = 0; i < 50; i++) stream.write(chunk(64));
  await turn();
  expect(stream.readableLength).toBe(0);
});

test('refuses the oldest large body when the memory is full, but no small ones', async () => {
  const uploads = new Uploads(300 * KIB);
  const small = Array.from({ length: 50 }, () => open(uploads));
  for (const { stream } of small) stream.write(chunk(60));
  const [first, second, third] = [open(uploads), open(uploads), open(uploads)];
  for (const { stream } of [first, second, third]) stream.write(chunk(164));
  await turn();
  const fourth = open(uploads);
  fourth.stream.end(chunk(164));
  expect(await first.outcome).toMatchObject({ status: 429, code: 'queue_full' });
  const taken = await fourth.outcome;
  expect(taken.bytes).toHaveLength(164 * KIB);
  second.stream.end();
  third.stream.end();
  for (const { outcome } of [second, third]) expect((await outcome).bytes).toHaveLength(164 * KIB);
  // Complete bodies are kept until released.
  const fifth = open(uploads);
  fifth.stream.write(chunk(200));
  expect(await fifth.outcome).toMatchObject({ status: 429 });
  taken.release();
  taken.release();
  const sixth = open(uploads);
  sixth.stream.end(chunk(164));
  expect((await sixth.outcome).bytes).toHaveLength(164 * KIB);
  for (const { stream, outcome } of small) {
    stream.end();
    expect((await outcome).bytes).toHaveLength(60 * KIB);
  }
});

test('a client that disconnects', async () => {
  const uploads = new Uploads(100 * KIB);
  const { stream, outcome } = open(uploads);
  stream.write(chunk(100));
  await turn();
  stream.destroy();
  expect(await outcome).toMatchObject({ status: 400 });
  const next = open(uploads);
  next.stream.end(chunk(160));
  expect((await next.outcome).bytes).toHaveLength(160 * KIB);
});
