import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineTail } from './line-tail.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-tail-'));
  path = join(folder, 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Polls until no more data is available; returns all valid lines. */
async function follow(tail: LineTail, known: string[]): Promise<string[]> {
  for (;;) {
    const { reset, lines, more } = await tail.poll();
    if (reset) known = [];
    known = [...known, ...lines.map(({ text }) => text)];
    if (!more) return known;
  }
}

const whole = (bytes: Buffer) =>
  bytes
    .subarray(0, bytes.lastIndexOf(10) + 1)
    .toString('utf8')
    .split('\n')
    .slice(0, -1);

describe('LineTail', () => {
  it('returns each line once, an incomplete one when it is complete', async () => {
    const tail = new LineTail(path);
    expect(await tail.poll()).toEqual({ reset: false, lines: [], more: false });
    writeFileSync(path, 'a\nbé\nto');
    expect((await tail.poll()).lines).toEqual([
      { text: 'a', start: 0 },
      { text: 'bé', start: 2 },
    ]);
    expect((await tail.poll()).lines).toEqual([]);
    appendFileSync(path, 'rn\nnext\n');
    expect((await tail.poll()).lines).toEqual([
      { text: 'torn', start: 6 },
      { text: 'next', start: 11 },
    ]);
  });

  it('resets if the file was truncated and has grown past its former size', async () => {
    const tail = new LineTail(path);
    writeFileSync(path, '{"step":1}\n{"step":2}\n{"step":3,"loss":5}\n');
    await follow(tail, []);
    truncateSync(path, 22);
    appendFileSync(path, '{"step":3,"loss":4}\n{"step":4}\n');
    const { reset, lines } = await tail.poll();
    expect(reset).toBe(true);
    expect(lines.map(({ text }) => text)).toEqual([
      '{"step":1}',
      '{"step":2}',
      '{"step":3,"loss":4}',
      '{"step":4}',
    ]);
  });

  it('equals reading the whole file after any sequence of writes, truncations and replacements', async () => {
    const bytes = fc.uint8Array({ maxLength: 40 }).map((raw) => {
      // Many line ends, and multi-byte characters split between two writes.
      return Buffer.from(raw.map((byte) => (byte < 90 ? 10 : byte)));
    });
    const operation = fc.oneof(
      { weight: 5, arbitrary: bytes.map((data) => ({ kind: 'append', data }) as const) },
      { weight: 2, arbitrary: fc.nat(120).map((size) => ({ kind: 'cut', size }) as const) },
      { weight: 2, arbitrary: bytes.map((data) => ({ kind: 'rewrite', data }) as const) },
      { weight: 1, arbitrary: bytes.map((data) => ({ kind: 'replace', data }) as const) },
      { weight: 1, arbitrary: fc.constant({ kind: 'remove' } as const) },
      { weight: 4, arbitrary: fc.constant({ kind: 'poll' } as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        rmSync(path, { force: true });
        let content: Buffer | undefined;
        let lines: string[] = [];
        const tail = new LineTail(path);
        for (const op of [...operations, { kind: 'poll' } as const]) {
          if (op.kind === 'poll') {
            lines = await follow(tail, lines);
            expect(lines).toEqual(content ? whole(content) : []);
            continue;
          }
          if (op.kind === 'append') content = Buffer.concat([content ?? Buffer.alloc(0), op.data]);
          else if (op.kind === 'cut') content = content?.subarray(0, op.size);
          else content = op.kind === 'remove' ? undefined : op.data;
          if (!content) rmSync(path, { force: true });
          else if (op.kind === 'append') appendFileSync(path, op.data);
          else if (op.kind === 'cut') truncateSync(path, content.length);
          else if (op.kind === 'rewrite') writeFileSync(path, content);
          else {
            writeFileSync(`${path}.new`, content);
            renameSync(`${path}.new`, path);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('reads a large file in parts and skips a line that is too long', async () => {
    const line = `{"x":"${'x'.repeat(990)}"}\n`;
    writeFileSync(path, `${line.repeat(2500)}${'y'.repeat(600_000)}\nlast\n`);
    const tail = new LineTail(path);
    const first = await tail.poll();
    expect(first.more).toBe(true);
    expect(first.lines.length).toBeLessThan(1100);
    const rest = await follow(
      tail,
      first.lines.map(({ text }) => text),
    );
    expect(rest).toHaveLength(2501);
    expect(rest.at(-1)).toBe('last');
  });

  it('does not follow links, block on pipes or read folders', async () => {
    writeFileSync(join(folder, 'secret'), 'secret\n');
    symlinkSync(join(folder, 'secret'), path);
    expect((await new LineTail(path).poll()).lines).toEqual([]);
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expect((await new LineTail(join(folder, 'pipe')).poll()).lines).toEqual([]);
    expect((await new LineTail(folder).poll()).lines).toEqual([]);
  });
});
