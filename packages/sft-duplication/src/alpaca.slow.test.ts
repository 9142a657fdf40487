import { existsSync, readFileSync } from 'node:fs';
import { Tokenizer } from 'tokenizers';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import { sftPresets } from './options.ts';
import { packRows } from './rows.ts';
import { type SftSample, TokenKind } from './types.ts';

const alpaca = `${process.env.MEAP_DATA}/sft/alpaca_5000.json`;
const tokenizerFile = `${process.env.MEAP_DATA}/tokenizers/llama3_1/tokenizer.json`;
const MASK = 128256;
const NUM_SAMPLES = 1000;

/** The authors' Llama 3 prompt; special tokens by id, so that text cannot make one. */
async function samplesOf(json: string) {
  const tokenizer = Tokenizer.fromString(json);
  const id = (token: string) => tokenizer.tokenToId(token)!;
  const encode = async (text: string) =>
    (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds();
  const header = async (role: string) => [
    id('<|start_header_id|>'),
    ...(await encode(role)),
    id('<|end_header_id|>'),
    ...(await encode('\n\n')),
  ];
  const eot = id('<|eot_id|>');
  const system = [
    id('<|begin_of_text|>'),
    ...(await header('system')),
    ...(await encode('You are a helpful, excellent and smart assistant.')),
    eot,
  ];
  const rows: { instruction: string; input: string; output: string }[] = JSON.parse(
    readFileSync(alpaca, 'utf8'),
  );
  const eos = id('<|end_of_text|>');
  const [user, assistant] = [await header('user'), await header('assistant')];
  const samples: SftSample[] = [];
  const answers: number[][] = [];
  for (const { instruction, input, output } of rows.slice(0, NUM_SAMPLES)) {
    const question = [
      ...user,
      ...(await encode(input === '' ? instruction : `${instruction}\n${input}`)),
      eot,
      ...assistant,
    ];
    const answer = await encode(output);
    answers.push(answer);
    samples.push({
      segments: [
        { ids: system, role: 'system', trainable: false },
        { ids: question, role: 'user', trainable: false },
        { ids: [...answer, eos], role: 'assistant', trainable: true, numCharacters: [...output].length },
      ],
    });
  }
  const specialIds: number[] = JSON.parse(json).added_tokens.map((token: { id: number }) => token.id);
  return { samples, answers, specialIds, eos };
}

describe.skipIf(!existsSync(alpaca) || !existsSync(tokenizerFile))('1,000 samples of Alpaca, Llama 3', () => {
  let data: Awaited<ReturnType<typeof samplesOf>>;
  beforeAll(async () => {
    data = await samplesOf(readFileSync(tokenizerFile, 'utf8'));
  });
  const duplicateAll = (options = {}, epoch = 0) =>
    createDuplicator({ maskId: MASK, specialIds: data.specialIds, maxLength: 4096, ...options }).duplicateAll(
      data.samples,
      { epoch },
    );

  it('masks exactly floor(0.1 · n) tokens of each answer over 50 tokens and nothing else', () => {
    const { rows, statistics } = duplicateAll(sftPresets.reference);
    const left = [...rows];
    const special = new Set(data.specialIds);
    for (const [index, answer] of data.answers.entries()) {
      if (answer.length === 0) continue;
      const tokens = data.samples[index].segments.flatMap(({ ids }) => Array.from(ids));
      const promptLength = tokens.length - answer.length - 1;
      const original = left.shift()!;
      expect([...original.inputs, original.targets.at(-1)]).toEqual(tokens);
      expect(original.lossMask.indexOf(1)).toBe(promptLength - 1);
      expect(original.lossMask.reduce((sum, learned) => sum + learned, 0)).toBe(answer.length + 1);
      if (answer.length <= 50) continue;
      const copy = left.shift()!;
      const masked = [...copy.inputs.keys()].filter((t) => copy.inputs[t] === MASK);
      expect(masked.length).toBe(Math.floor(answer.length * 0.1));
      expect(masked.every((t) => t >= promptLength && !special.has(tokens[t]))).toBe(true);
      expect([...copy.inputs].every((id, t) => id === MASK || id === tokens[t])).toBe(true);
      expect([...copy.lossMask.keys()].filter((i) => copy.lossMask[i])).toEqual(masked.map((t) => t - 1));
      expect(copy.targets).toEqual(original.targets);
    }
    expect(left).toEqual([]);
    const numEmpty = data.answers.filter((answer) => answer.length === 0).length;
    expect(statistics.dropped).toEqual({ noAnswer: numEmpty, promptFillsWindow: 0 });
    expect(statistics.numCopies).toBe(data.answers.filter((answer) => answer.length > 50).length);
  });

  it('packs with less than 2 % padding, and the packed rows learn the same', () => {
    const { rows, statistics } = duplicateAll({ maxLength: 2048 });
    const packed = packRows(rows, { length: 2048 });
    expect(packed.statistics.padding).toBeLessThan(0.02);
    expect(packed.statistics.paddingToLongest).toBeGreaterThan(0.5);
    const learned = packed.rows.reduce((sum, row) => sum + row.lossMask.reduce((a, b) => a + b, 0), 0);
    expect(learned).toBe(statistics.numLearned);
    const eosLearned = packed.rows.flatMap((row) =>
      [...row.targets].filter((id, i) => row.lossMask[i] && id === data.eos),
    ).length;
    expect(eosLearned).toBe(NUM_SAMPLES - statistics.dropped.noAnswer);
    for (const { kinds, lossMask } of packed.rows) {
      expect(kinds.every((kind, i) => lossMask[i] === 0 || kind !== TokenKind.prompt)).toBe(true);
    }
  });

  it('draws other masks in another epoch and counts characters too', () => {
    const inputs = (epoch: number) => duplicateAll({}, epoch).rows.map((row) => row.inputs.join());
    const [first, again, second] = [inputs(0), inputs(0), inputs(1)];
    expect(again).toEqual(first);
    const changed = first.filter((row, i) => row !== second[i]).length;
    expect(changed).toBe(duplicateAll().statistics.numCopies);
    const { statistics } = duplicateAll({ thresholdUnit: 'characters', threshold: 50 });
    expect(statistics.numCopies).toBeGreaterThan(changed);
  });
});
