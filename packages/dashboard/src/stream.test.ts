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
    const data = this.written.flatMap(
      (text) => /^event: curves\n(?:.*\n)*?data: (.*)$/m.exec(text)?.[1] ?? [],
    );
    return data.map((text) => JSON.parse(text)).map(({ isWhole, table }) => ({ isWhole, step: table.step }));
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
