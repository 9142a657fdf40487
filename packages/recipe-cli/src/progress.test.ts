import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import xterm from '@xterm/headless';
import { describe, expect, it } from 'vitest';
import { TrainingProgress } from './progress.ts';

const step = (step: number) =>
  ({
    type: 'step',
    step,
    tokens: 0,
    loss: 4.321,
    lr: 1,
    gradNorm: 1,
    tokensPerSecond: 5120,
    mfu: 0.5,
    residentBytes: 1e9,
    backendBytes: 5e8,
  }) as const;

/** A terminal as a process sees it, on an emulator that says what a person would see. */
class Screen extends Writable {
  readonly isTTY = true;
  columns: number;
  readonly #terminal: xterm.Terminal;

  constructor(columns: number) {
    super();
    this.columns = columns;
    this.#terminal = new xterm.Terminal({
      cols: columns,
      rows: 30,
      allowProposedApi: true,
      convertEol: true,
    });
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.#terminal.write(chunk, done);
  }

  resize(columns: number): void {
    this.columns = columns;
    this.#terminal.resize(columns, 30);
    this.emit('resize');
  }

  async lines(): Promise<string[]> {
    await sleep(50);
    const { active } = this.#terminal.buffer;
    const lines: string[] = [];
    for (let i = 0; i < active.length; i++) {
      const line = active.getLine(i)!;
      if (line.isWrapped) lines[lines.length - 1] += line.translateToString(true);
      else lines.push(line.translateToString(true));
    }
    return lines.filter(Boolean);
  }
}

function progressOn(screen: Screen) {
  const stream = screen as unknown as NodeJS.WriteStream;
  const output = { write: (text: string) => screen.write(text), interactive: true };
  const progress = new TrainingProgress(output, stream, () => 'validation 1.0');
  progress.totalSteps = 100;
  return progress;
}

describe('a bar', () => {
  it('is one line between any others, and is removed at the end', async () => {
    const screen = new Screen(100);
    const progress = progressOn(screen);
    for (let i = 1; i <= 60; i++) {
      progress.onTrainEvent(step(i));
      if (i % 20 === 0) progress.line(`note ${i}`);
    }
    progress.onTrainEvent(step(61));
    const during = await screen.lines();
    expect(during.filter((line) => line.startsWith('note'))).toEqual(['note 20', 'note 40', 'note 60']);
    expect(during.filter((line) => line.includes('training'))).toEqual([during.at(-1)]);
    expect(during.at(-1)).toMatch(/^training .* 61 % {2}loss 4\.321, 5\.12K tokens\/s/);
    progress.close();
    expect(await screen.lines()).toEqual(['note 20', 'note 40', 'note 60']);
  });

  it('survives resizing of the terminal', async () => {
    const screen = new Screen(100);
    const progress = progressOn(screen);
    progress.line('before');
    for (const columns of [100, 40, 25, 120, 60]) {
      screen.resize(columns);
      await sleep(10);
      for (let i = 1; i <= 5; i++) progress.onTrainEvent(step(i));
      const lines = await screen.lines();
      expect(lines.filter((line) => line.includes('training')).length, `${columns} columns`).toBe(1);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
    }
    progress.line('after');
    progress.close();
    expect(await screen.lines()).toEqual(['before', 'after']);
  });
});
