import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TaskResult } from '@meap/evals';
import { captureOutput } from '@meap/recipe-cli';
import { Command } from 'commander';
import { beforeEach, describe, expect, it } from 'vitest';
import { readLoggedRows } from './logged-rows.ts';
import { readFolders, trainingOf } from './read-folders.ts';
import { addReportCommand } from './report-command.ts';
import { SYNTHETIC_TASKS, syntheticModel, syntheticReport, syntheticResult } from './testing.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'meap-folders-'));
  return () => rmSync(root, { recursive: true });
});

/** Writes a folder like `meap-evaluate run`. */
function evaluation(name: string, results: readonly TaskResult[], model?: string): string {
  const folder = join(root, name);
  mkdirSync(join(folder, 'tasks'), { recursive: true });
  for (const result of results) writeJson(join(folder, 'tasks', `${result.task}.json`), asFile(result));
  writeJson(join(folder, 'environment.json'), model === undefined ? {} : { model });
  writeJson(join(folder, 'results.json'), {
    results: Object.fromEntries(results.map(({ task }) => [task, {}])),
  });
  return folder;
}

function asFile(result: TaskResult): unknown {
  return { ...result, samples: result.samples.map((sample) => ({ ...sample, shown: {}, answers: [] })) };
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value));
}

const resultOf = (task: string, model: string) =>
  syntheticResult(SYNTHETIC_TASKS.find(({ name }) => name === task)!, syntheticModel(model, 0.5), 0.5);

describe('readFolders', () => {
  it('merges folders of the same model, and makes equal names unique', async () => {
    const folders = [
      evaluation('one', [await resultOf('boolq', 'NTP')]),
      evaluation('two', [await resultOf('niah', 'NTP')]),
      evaluation('three', [await resultOf('boolq', 'NTP')]),
    ];
    const { models } = readFolders(folders);
    expect(models.map(({ name, results }) => [name, results.map(({ task }) => task)])).toEqual([
      ['NTP (one)', ['boolq', 'niah']],
      ['NTP (three)', ['boolq']],
    ]);
  });

  it('reads the logged rows in which models disagree', async () => {
    const [a, b] = await Promise.all(['NTP', 'MEAP'].map((model) => resultOf('boolq', model)));
    const flipped = (result: TaskResult, right: number) => ({
      ...result,
      samples: result.samples.map((sample, i) =>
        i === 7 ? { ...sample, measured: { acc: { value: right } } } : sample,
      ),
    });
    const folders = [evaluation('a', [flipped(a, 0)]), evaluation('b', [flipped(b, 1)])];
    const line = (id: number, scores: string[]) => ({
      doc_id: id,
      target: '1',
      arguments: {
        gen_args_0: { arg_0: `${'x'.repeat(400)}so?`, arg_1: ' no' },
        gen_args_1: { arg_0: 'so?', arg_1: ' yes' },
      },
      filtered_resps: scores.map((score) => [score, 'False']),
      filter: 'none',
    });
    const log = (folder: string, scores: string[]) =>
      writeFileSync(
        join(folder, 'samples_boolq.jsonl'),
        [6, 7].map((id) => `${JSON.stringify(line(id, scores))}\n`).join(''),
      );
    log(folders[0], ['-1.0', '-2.0']);
    log(folders[1], ['-2.0', '-1.0']);
    const [ofA, ofB] = await readLoggedRows(readFolders(folders).models);
    expect([...ofA.boolq]).toEqual([
      ['7', { question: `…${'x'.repeat(297)}so?`, target: 'yes', answer: 'no' }],
    ]);
    expect(ofB.boolq.get('7')!.answer).toBe('yes');
    writeFileSync(join(folders[1], 'samples_boolq.jsonl'), '{"doc_id":7,');
    await expect(readLoggedRows(readFolders(folders).models)).rejects.toThrow(
      /samples_boolq\.jsonl, line 1: cannot be read/,
    );
  });

  it('reads the two evaluations of a comparison', async () => {
    evaluation('both/a', [await resultOf('boolq', 'NTP')]);
    evaluation('both/b', [await resultOf('boolq', 'MEAP')]);
    expect(readFolders([join(root, 'both')]).models.map(({ name }) => name)).toEqual(['NTP', 'MEAP']);
  });

  it('reads attention', async () => {
    const { contrasts, shares } = await syntheticReport();
    writeJson(join(root, 'attention.json'), { contrasts, shares });
    const input = readFolders([root]);
    expect(input.models).toEqual([]);
    expect(input.contrasts).toEqual(contrasts);
    expect(input.shares).toEqual(shares);
  });

  it('finds the metrics of the run that contains a model', async () => {
    const line = { step: 1, tokens: 64, loss: 3, lr: 1, gradNorm: 1, tokensPerSecond: 1, mfu: 0 };
    const checkpoint = join(root, 'run/checkpoints/step-1');
    mkdirSync(checkpoint, { recursive: true });
    expect(trainingOf(checkpoint)).toBeUndefined();
    const probe = { step: 1, tokens: 64, probes: { 'recall/acc': 0.5 }, seconds: 1 };
    const lines = [line, probe].map((one) => `${JSON.stringify(one)}\n`);
    writeFileSync(join(root, 'run/metrics.jsonl'), lines.join(''));
    for (const model of [checkpoint, join(root, 'run/model'), join(root, 'run')]) {
      expect(trainingOf(model)).toEqual({ steps: [line], validations: [], probes: [probe] });
    }
    const folder = evaluation('x', [await resultOf('boolq', 'NTP')], checkpoint);
    expect(readFolders([folder]).models[0].training?.steps).toEqual([line]);
    writeFileSync(join(root, 'run/metrics.jsonl'), '{"step": 1\n{}\n');
    expect(() => trainingOf(checkpoint)).toThrow(/metrics\.jsonl: line 1 is damaged/);
  });

  it('refuses folders without results or with damaged files', async () => {
    expect(() => readFolders([root])).toThrow(/has no results, expected a folder of meap-evaluate run/);
    const folder = evaluation('x', [await resultOf('boolq', 'NTP')]);
    for (const damaged of [
      '',
      '[]',
      '{"task": 3}',
      'null',
      '{"task":"x","samples":[{"measured":{"acc":{"value":null}}}]}',
    ]) {
      writeFileSync(join(folder, 'tasks', 'boolq.json'), damaged);
      expect(() => readFolders([folder])).toThrow(/expected a file of meap-evaluate/);
    }
    rmSync(folder, { recursive: true });
    writeFileSync(join(root, 'attention.json'), '{"contrasts": [{}]}');
    expect(() => readFolders([root])).toThrow(/attention\.json: .*; expected a file of meap-evaluate/);
  });
});

describe('meap-evaluate report', () => {
  it('writes a page about the given folders', async () => {
    const folders = [
      evaluation('a', [await resultOf('boolq', 'NTP')]),
      evaluation('b', [await resultOf('boolq', 'MEAP')]),
    ];
    const out = join(root, 'new', 'page.html');
    const { stdout } = await captureOutput(async (io) => {
      const program = new Command();
      addReportCommand(program, io);
      await program.parseAsync(['report', ...folders, '--out', out], { from: 'user' });
      return 0;
    });
    expect(stdout).toContain(out);
  });
});
