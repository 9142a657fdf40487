import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { captureOutput, type Outcome } from '@meap/recipe-cli';
import { TemporaryFolder } from '@meap/test-support';
import { stringify } from 'yaml';
import { pretrainCommand } from './command.ts';
import type { PretrainConfigInput } from './config.ts';
import { handoffCommand } from './handoff/command.ts';

/** A temporary folder with a small corpus and a tiny recipe; runs commands in this process. */
export class Workbench extends TemporaryFolder {
  recipe = join(this.directory, 'tiny.yaml');

  constructor() {
    super();
    this.write('corpus.txt', corpus(400));
    this.write('tiny.yaml', stringify(tinyRecipe));
  }

  /** Runs `meap-pretrain --config tiny.yaml …` into the folder `out`. */
  pretrain(out: string, ...more: string[]): Promise<Outcome> {
    const cache = `data.cache_dir=${this.path('cache')}`;
    const argv = ['--config', this.recipe, '--out', this.path(out), '--set', cache, ...more];
    return captureOutput((io) => pretrainCommand(argv, io));
  }

  /** Runs `meap-handoff --run run --out out …` on folders of this workbench. */
  handoff(run: string, out: string, ...more: string[]): Promise<Outcome> {
    const argv = ['--run', this.path(run), '--out', this.path(out), ...more];
    return captureOutput((io) => handoffCommand(argv, io));
  }
}

/** Reads an array in NumPy's file format. */
export function readNpy(path: string): { descr: string; shape: number[]; values: number[] } {
  const bytes = readFileSync(path);
  if (bytes.toString('latin1', 0, 8) !== '\x93NUMPY\x01\0')
    throw new Error(`${path} is not a .npy file of format 1.0`);
  const end = 10 + bytes.readUInt16LE(8);
  if (end % 64 !== 0) throw new Error(`${path}: data start at ${end}, expected a multiple of 64`);
  const header = bytes.toString('latin1', 10, end);
  const [, descr, tuple] = /^\{'descr': '(.+)', 'fortran_order': False, 'shape': \((.+)\), \} *\n$/.exec(
    header,
  )!;
  const shape = tuple.split(',').flatMap((size) => (size.trim() ? [Number(size)] : []));
  const size = { '<u2': 2, '<i4': 4, '<f8': 8 }[descr]!;
  const at = (i: number) => {
    if (descr === '<u2') return bytes.readUInt16LE(i);
    return descr === '<i4' ? bytes.readInt32LE(i) : bytes.readDoubleLE(i);
  };
  const values = Array.from({ length: (bytes.length - end) / size }, (_, i) => at(end + i * size));
  return { descr, shape, values };
}

/** A tiny recipe with all features that trains in less than a second. */
export const tinyRecipe: PretrainConfigInput = {
  model: { hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2 },
  data: { files: ['corpus.txt'], separator: '---' },
  tokenizer: { vocab_size: 300 },
  train: {
    max_steps: 6,
    global_batch_size: 4,
    micro_batch_size: 2,
    sequence_length: 16,
    learning_rate: 1e-2,
  },
  validation: { every: 3, max_rows: 5 },
  checkpoint: { every: 2 },
  samples: { every: 3, prompts: ['', 'The'], max_new_tokens: 4 },
};

/** Returns deterministic English-like documents, separated by `---`. */
export function corpus(sentences: number): string {
  const subjects = ['The whale', 'A sailor', 'The captain', 'My ship', 'The harpooneer'];
  const verbs = ['sees', 'follows', 'fears', 'remembers', 'forgets', 'greets'];
  const objects = ['the sea', 'a storm', 'the mast', 'the harbour', 'an island', 'the moon', 'nobody'];
  let text = '';
  for (let i = 0; i < sentences; i++) {
    const pick = (list: string[], prime: number) => list[(i * prime + (i >> 2)) % list.length];
    text += `${pick(subjects, 7)} ${pick(verbs, 11)} ${pick(objects, 13)}.${i % 10 === 9 ? '\n---\n' : ' '}`;
  }
  return text;
}
