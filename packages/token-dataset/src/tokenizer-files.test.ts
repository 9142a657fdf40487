import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixture, temporaryFolder } from './testing.ts';
import { addMaskToken, loadTokenizer, removeMaskToken, type Tokenizer } from './tokenizer.ts';

const tokenizerJson = readFileSync(fixture('trained/tokenizer.json'), 'utf8');
const model = Uint8Array.from({ length: 300 }, (_, i) => i);

/** The tokenizer of a folder with these files beside a tokenizer.json without a mask token. */
function tokenizerBeside(files: Record<string, object | string>): Tokenizer {
  const folder = temporaryFolder();
  const all: Record<string, object | string> = { 'tokenizer.json': tokenizerJson, ...files };
  for (const [name, content] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    const isData = typeof content === 'string' || content instanceof Uint8Array;
    writeFileSync(join(folder, name), isData ? content : JSON.stringify(content));
  }
  return removeMaskToken(loadTokenizer(folder));
}

function saved(tokenizer: Tokenizer, chatTemplate?: string) {
  const folder = join(temporaryFolder(), 'saved');
  tokenizer.save(folder, { chatTemplate });
  const text = (name: string) => readFileSync(join(folder, name), 'utf8');
  const json = (name: string) => JSON.parse(text(name));
  return { folder, names: readdirSync(folder).sort(), text, json };
}

const WRITTEN = ['special_tokens_map.json', 'tokenizer.json', 'tokenizer_config.json'];

describe('files beside tokenizer.json', () => {
  it('are saved unchanged, and no other files', () => {
    const side = {
      'tokenizer.model': model,
      'tokenizer.model.v3': model,
      'vocab.json': '{"a": 0}',
      'merges.txt': '#version: 0.2\n',
      'chat_template.jinja': '{{ messages }}',
      'additional_chat_templates/tools.jinja': '{{ tools }}',
      'tokenization_own.py': 'class Own: pass\n',
    };
    const other = { 'config.json': {}, 'model.safetensors': model, 'train.py': '' };
    const { folder, names } = saved(tokenizerBeside({ ...side, ...other }));
    const expected = [...Object.keys(side), ...WRITTEN].map((name) => name.split('/')[0]);
    expect(names).toEqual(expected.sort());
    for (const [name, content] of Object.entries(side)) {
      expect(readFileSync(join(folder, name))).toEqual(Buffer.from(content as string));
    }
    expect([...loadTokenizer(folder).sideFiles.keys()].sort()).toEqual(Object.keys(side).sort());
  });

  it('exclude folders, dangling links, and a file in place of a folder', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'tokenizer.json'), tokenizerJson);
    writeFileSync(join(folder, 'additional_chat_templates'), '');
    mkdirSync(join(folder, 'vocab.json'));
    symlinkSync(join(folder, 'nowhere'), join(folder, 'tokenizer.model'));
    expect([...loadTokenizer(folder).sideFiles.keys()]).toEqual([]);
    symlinkSync('merges.txt', join(folder, 'merges.txt'));
    expect(() => loadTokenizer(folder)).toThrow(/a tokenizer's file cannot be read: ELOOP/);
  });

  it('keep integers beyond 2^53 and further special tokens in the configuration', () => {
    const { text, json } = saved(
      tokenizerBeside({
        'tokenizer_config.json': '{"model_max_length": 1000000000000000019884624838656, "eos_token": "</s>"}',
        'special_tokens_map.json': { additional_special_tokens: ['<pad>'] },
      }),
    );
    expect(text('tokenizer_config.json')).toContain('"model_max_length": 1000000000000000019884624838656');
    expect(json('special_tokens_map.json')).toEqual({
      additional_special_tokens: ['<pad>'],
      eos_token: '</s>',
    });
  });
});

describe('an added mask token', () => {
  const entry = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const decoder = { 0: { content: '<s>', ...entry } };

  it('is in every list of added tokens of the folder, until it is removed', () => {
    const plain = tokenizerBeside({
      'tokenizer_config.json': { added_tokens_decoder: decoder },
      'added_tokens.json': { '<s>': 0 },
      'tokenizer.model': model,
    });
    const masked = addMaskToken(plain, '[M]');
    const { json } = saved(masked);
    expect(json('tokenizer_config.json').added_tokens_decoder).toEqual({
      ...decoder,
      [plain.vocabSize]: { content: '[M]', ...entry },
    });
    expect(json('added_tokens.json')).toEqual({ '<s>': 0, '[M]': plain.vocabSize });
    const undone = saved(removeMaskToken(masked, '[M]'));
    expect(undone.json('tokenizer_config.json').added_tokens_decoder).toEqual(decoder);
    expect(undone.json('added_tokens.json')).toEqual({ '<s>': 0 });
  });

  it('gets an added_tokens.json if no other file has its id', () => {
    const slow = addMaskToken(tokenizerBeside({ 'vocab.json': '{}', 'merges.txt': '' }), '[M]');
    expect(saved(slow).json('added_tokens.json')).toEqual({ '[M]': slow.maskTokenId });
    expect(saved(removeMaskToken(slow, '[M]')).names).not.toContain('added_tokens.json');
    // Without a vocabulary file, readers find the id in tokenizer.json.
    expect(saved(addMaskToken(tokenizerBeside({}), '[M]')).names).toEqual(WRITTEN);
  });

  it('is not added to or removed from a damaged file', () => {
    expect(() => tokenizerBeside({ 'added_tokens.json': '{' })).toThrow(/added_tokens\.json is not JSON: /);
  });
});

describe('a chat template', () => {
  const named = [
    { name: 'tools', template: 'T' },
    { name: 'default', template: 'D' },
  ];

  it.each([
    ['text', { 'tokenizer_config.json': { chat_template: 'D' } }],
    ['one of several', { 'tokenizer_config.json': { chat_template: named } }],
    ['a file', { 'chat_template.jinja': 'D', 'additional_chat_templates/tools.jinja': 'T' }],
  ])('that is the one of the folder, %s, leaves all as it is', (_, files) => {
    const { json, names, text } = saved(tokenizerBeside(files), 'D');
    const given = 'tokenizer_config.json' in files ? files['tokenizer_config.json'].chat_template : 'D';
    expect(json('tokenizer_config.json').chat_template).toEqual(given);
    expect(names).toEqual(
      [...new Set([...Object.keys(files).map((name) => name.split('/')[0]), ...WRITTEN])].sort(),
    );
    if ('chat_template.jinja' in files) expect(text('chat_template.jinja')).toBe('D');
  });

  it('replaces all existing ones', () => {
    const files = { 'chat_template.jinja': 'D', 'additional_chat_templates/tools.jinja': 'T' };
    const { json, names, text } = saved(
      tokenizerBeside({ ...files, 'tokenizer_config.json': { chat_template: named } }),
      'X',
    );
    expect(json('tokenizer_config.json').chat_template).toBe('X');
    expect(text('chat_template.jinja')).toBe('X');
    expect(names).toEqual(['chat_template.jinja', ...WRITTEN]);
  });
});
