import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { DatasetError, openTokenDataset } from '@meap/token-dataset';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../load-config.ts';
import { corpus, Workbench } from '../testing.ts';
import { describeDocuments } from './describe-documents.ts';
import { npmTextNames, writeNpmText } from './npm-text.ts';
import { type DataProgress, prepareData } from './prepare-data.ts';

const bench = new Workbench();
afterAll(() => bench.dispose());
const load = (...sets: string[]) =>
  loadConfig(bench.recipe, [`data.cache_dir=${bench.path('cache')}`, ...sets]);

/** Prepares data and returns the reported stages. */
async function prepare(...sets: string[]) {
  const stages = new Set<string>();
  const data = await prepareData(load(...sets), (progress: DataProgress) => {
    stages.add('phase' in progress ? `${progress.stage} ${progress.phase}` : progress.stage);
  });
  data.close();
  return { data, stages: [...stages] };
}

describe('prepareData', () => {
  it('holds out the end of the stream for validation', async () => {
    const { data, stages } = await prepare('validation.max_rows=1000');
    expect(stages).toEqual(['tokenizer', 'train hash', 'train tokenize']);
    const { train, validation } = data;
    expect(train.blockLength).toBe(17);
    expect(validation.numBlocks).toBe(Math.round(0.05 * (train.numBlocks + validation.numBlocks)));
    expect(data.trainSplit).toEqual({ sequenceLength: 16, split: 'train', validationFraction: 0.05 });
  });

  it('prepares nothing twice', async () => {
    expect((await prepare()).stages).toEqual(['train hash']);
    expect((await prepare('tokenizer.vocab_size=280')).stages).toEqual([
      'tokenizer',
      'train hash',
      'train tokenize',
    ]);
    expect((await prepare('train.sequence_length=8')).stages).toEqual(['train hash']);
  });

  it('detects a changed text', async () => {
    const before = await prepare();
    bench.write('corpus.txt', corpus(420));
    const after = await prepare();
    expect(after.stages).toEqual(['tokenizer', 'train hash', 'train tokenize']);
    expect(after.data.train.dataset.fingerprint).not.toBe(before.data.train.dataset.fingerprint);
  });

  it('validates on separate files', async () => {
    const held = bench.write('held-out.txt', corpus(60));
    const { data } = await prepare(`data.validation_files=["${held}"]`);
    expect(data.trainSplit).toEqual({ sequenceLength: 16 });
    expect(data.validation.dataset.numTokens).toBeLessThan(data.train.dataset.numTokens);
  });

  it('never uses the mask id as a target, even if a text spells it', async () => {
    const file = bench.write('spelled.txt', corpus(400).replaceAll('sea', '[MASK]'));
    const { data } = await prepare(`data.files=["${file}"]`);
    expect(data.tokenizer.maskTokenId).toBe(300);
    expect(data.train.dataset.maxTokenId).toBeLessThan(300);
  });

  it('parses special tokens only if configured, and counts their spellings', async () => {
    const file = bench.write('html.txt', `${corpus(400)}\n---\n<s>old</s> new\n---\ntwice\n---\ntwice`);
    const files = `data.files=["${file}"]`;
    const literal = (await prepare(files)).data;
    expect(literal.documents).toMatchObject({
      empty: 0,
      duplicates: { oneIn: 1 },
      spellings: { documents: 1, occurrences: 2 },
    });
    const parsed = (await prepare(files, 'data.parse_special_tokens=true')).data;
    const special = ({ train }: typeof parsed) => {
      const dataset = openTokenDataset(train.dataset.directory);
      const count = dataset.readTokens(0, dataset.numTokens).filter((id) => id < 2).length;
      dataset.close();
      return count;
    };
    expect(special(parsed) - special(literal)).toBe(2);
    expect(special(literal)).toBe(2 * literal.train.dataset.numDocuments);
    expect(describeDocuments(literal.documents, false)).toContainEqual(
      '1 document with special tokens spelled out, kept as text (2 times)',
    );
  });

  it('continues an interrupted preparation, with a notice', async () => {
    const [first, second] = ['a.txt', 'b.txt'].map((name, i) => bench.write(name, corpus(900 + i)));
    const config = `data.files=["${first}", "${second}"]`;
    const stop = new AbortController();
    const notices: string[] = [];
    const listen = (progress: DataProgress) => {
      if ('notice' in progress) notices.push(progress.notice);
      else if ('phase' in progress && progress.documents > 0) stop.abort(new Error('enough'));
    };
    await expect(prepareData(load(config), listen, stop.signal)).rejects.toThrow('enough');
    // on_bad_record and the validation split do not affect the tokens.
    const again = load(config, 'data.on_bad_record=skip', 'data.validation_fraction=0.1');
    (await prepareData(again, listen)).close();
    expect(notices).toEqual([
      expect.stringMatching(/^continuing an interrupted preparation after [\d,]+ tokens of [\d,]+ documents/),
    ]);
  });

  it('loads a tokenizer from a file, without BOS if it has none', async () => {
    const [folder] = readdirSync(bench.path('cache/tokenizers')).filter((name) => name.startsWith('bpe-300'));
    const path = bench.write(
      'plain.json',
      readFileSync(bench.path('cache/tokenizers', folder, 'tokenizer.json')),
    );
    await expect(prepare(`tokenizer.path=${path}`)).rejects.toThrow(
      /got no EOS token.*set tokenizer\.eos_token/,
    );
    const { data } = await prepare(
      `tokenizer.path=${path}`,
      'tokenizer.eos_token=</s>',
      'data.separator=null',
    );
    expect(data.tokenizer).toMatchObject({ bosTokenId: undefined, eosTokenId: 1 });
  });
});

describe('writeNpmText', () => {
  it('says how to install missing texts', () => {
    const missing = () => writeNpmText(['war-and-peace' as 'sotu', 'sotu'], bench.path('texts'));
    expect(missing).toThrow(DatasetError);
    expect(missing).toThrow(
      /data\.npm: .* no package @stdlib\/datasets-war-and-peace, .* run \w+ \w+ @stdlib\/datasets-war-and-peace, /,
    );
  });

  it('writes each text once, shuffled', () => {
    const path = writeNpmText(npmTextNames, bench.path('texts'));
    const sources = readFileSync(path, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).source);
    expect(sources.length).toBeGreaterThan(300);
    expect(new Set(sources.slice(-20))).toEqual(new Set(npmTextNames));
    expect(writeNpmText([...npmTextNames].reverse(), bench.path('texts'))).toBe(path);
    expect(readdirSync(bench.path('texts'))).toHaveLength(1);
    expect(existsSync(path)).toBe(true);
  });
});
