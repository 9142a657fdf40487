import { EventEmitter } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RunStore } from './run-store.ts';
import { MAX_ROWS } from './shared/table.ts';
import { Stream } from './stream.ts';
import { makeRun, stepLine } from './testing.ts';

let folder: string;
let path: string;
let store: RunStore;
let run: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'meap-stream-'));
  path = makeRun(folder, 'a', 10);
  store = new RunStore([{ path: folder, depth: 1 }], undefined);
  await store.refresh(new Set());
  run = [...store.runs.keys()][0];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A connection that reports after the first message that its buffer is full. */
class Connection extends EventEmitter {
  written: string[] = [];
  isFull = true;
  isDestroyed = false;

  write(text: string): boolean {
    this.written.push(text);
    return !this.isFull;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  curves(): { isWhole: boolean; step: number[] }[] {
    return this.messages().map(({ isWhole, table }) => ({ isWhole, step: table.step }));
  }

  // biome-ignore lint/suspicious/noExplicitAny: any JSON
  messages(): any[] {
    const data = this.written.flatMap(
      (text) => /^event: curves\n(?:.*\n)*?data: (.*)$/m.exec(text)?.[1] ?? [],
    );
    return data.map((text) => JSON.parse(text));
  }
}

async function write(from: number, to: number): Promise<void> {
  for (let step = from; step <= to; step++) appendFileSync(join(path, 'metrics.jsonl'), stepLine(step));
  await store.refresh(new Set([run]));
}

it('queues nothing for a page that does not read, then sends all changes in one message', async () => {
  const connection = new Connection();
  const stream = new Stream(connection as unknown as ServerResponse, 's', [run], '');
  stream.send(store);
  const before = connection.written.length;
  for (let round = 0; round < 20; round++) {
    await write(11 + 10 * round, 20 + 10 * round);
    stream.send(store);
  }
  expect(connection.written).toHaveLength(before);
  connection.isFull = false;
  connection.emit('drain');
  stream.send(store);
  expect(connection.curves()).toEqual([
    { isWhole: true, step: Array.from({ length: 210 }, (_, i) => i + 1) },
  ]);
  await write(211, 212);
  stream.send(store);
  expect(connection.curves()[1]).toEqual({ isWhole: false, step: [211, 212] });
});

it('sends only new probes, also to a page that reconnects', async () => {
  const probe = (step: number, probes: object) => {
    appendFileSync(join(path, 'metrics.jsonl'), `${JSON.stringify({ step, probes })}\n`);
    return store.refresh(new Set([run]));
  };
  const connection = new Connection();
  connection.isFull = false;
  const stream = new Stream(connection as unknown as ServerResponse, 's', [run], '');
  await probe(10, { 'a/x': 1 });
  stream.send(store);
  stream.send(store);
  await probe(11, { 'b/y': 2 });
  stream.send(store);
  const [first, second, ...more] = connection.messages();
  expect(first.probes).toMatchObject({ step: [10], values: { 'a/x': [1] } });
  expect([second.isWhole, second.table.step]).toEqual([false, []]);
  expect(second.probes).toMatchObject({ step: [11], values: { 'a/x': [null], 'b/y': [2] } });
  expect(more).toEqual([]);
  const since = /^id: (.*)$/m.exec(connection.written.at(-1)!)![1];
  const again = new Connection();
  again.isFull = false;
  const next = new Stream(again as unknown as ServerResponse, 's', [run], since);
  next.send(store);
  expect(again.messages()).toEqual([]);
  await probe(12, { 'a/x': 3 });
  next.send(store);
  expect(again.messages()[0].probes).toMatchObject({ step: [12], values: { 'a/x': [3], 'b/y': [null] } });
});

it('sends a coarse table instead of more new steps than a page holds', async () => {
  const connection = new Connection();
  connection.isFull = false;
  const stream = new Stream(connection as unknown as ServerResponse, 's', [run], '');
  await store.refresh(new Set([run]));
  stream.send(store);
  await write(11, 11 + MAX_ROWS);
  stream.send(store);
  const [, second] = connection.curves();
  expect(second.isWhole).toBe(true);
  expect(second.step).toHaveLength(Math.ceil((11 + MAX_ROWS) / 2));
});
