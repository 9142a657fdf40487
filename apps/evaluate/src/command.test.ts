import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { captureOutput } from '@meap/recipe-cli';
import { FakeHub } from '@meap/test-support';
import { acquireLock } from '@meap/trainer';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { evaluateCommand } from './command.ts';
import { tinyModel } from './testing.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meap-evaluate-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rows = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    goal: `open ${i}`,
    sol1: 'with a key',
    sol2: `with ${i} keys`,
    label: i % 2,
  }));

function writeRows(name: string, records: readonly unknown[]): string {
  const path = join(folder, name);
  writeFileSync(path, records.map((record) => JSON.stringify(record)).join('\n'));
  return path;
}

const run = (...args: string[]) =>
  captureOutput((io) =>
    evaluateCommand(
      ['run', '--model', tinyModel, '--out', join(folder, 'out'), '--cache', join(folder, 'cache'), ...args],
      io,
    ),
  );

describe('meap-evaluate run', () => {
  it('prints a table and writes the files of the harness', async () => {
    writeRows('piqa_valid.jsonl', rows(6));
    const { code, stdout, stderr } = await run(
      '--tasks',
      'piqa',
      '--data',
      folder,
      '--limit',
      '5',
      '--log-samples',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\| piqa +\| +1 \| +5 \| acc +\| ↑ +\| [01]\.\d{4} \| ± +\| [01]\.\d{4} \|/);
    expect(stdout).toContain(`report       ${join(folder, 'out/report.html')}`);
    expect(readFileSync(join(folder, 'out/report.html'), 'utf8')).toContain(
      '<h1>Evaluation of checkpoint</h1>',
    );
    const results = JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'));
    expect(results.results.piqa).toMatchObject({ alias: 'piqa', 'acc,none': expect.any(Number) });
    expect(results['n-samples'].piqa).toEqual({ original: 6, effective: 5 });
    expect(results.config).toMatchObject({ dtype: 'float32', limit: 5, bos: null });
    const task = JSON.parse(readFileSync(join(folder, 'out/tasks/piqa.json'), 'utf8'));
    expect(task.samples).toHaveLength(5);
    const samples = readFileSync(join(folder, 'out/samples_piqa.jsonl'), 'utf8').trim().split('\n');
    expect(JSON.parse(samples[1])).toMatchObject({ doc_id: 1, doc: rows(6)[1], target: '1', filter: 'none' });
    expect(existsSync(join(folder, 'out/environment.json'))).toBe(true);
    const quantized = ['--tasks', 'piqa', '--data', folder, '--limit', '5', '--json', '--quantize', 'nf4'];
    const scores = JSON.parse((await run(...quantized)).stdout);
    expect(scores.config).toMatchObject({ model_quantize: 'nf4', dtype: 'float32' });
    const { stderr: refusal } = await run(...quantized, '--backend', 'cpu');
    expect(refusal).toContain('quantize: got nf4 on the backend cpu, expected native');
  });

  it('evaluates a YAML of the harness and ready rows, whose paths are relative to the recipe', async () => {
    writeRows('capitals.jsonl', [
      { country: 'France', cities: ['Lyon', 'Paris'], right: 1 },
      { country: 'Japan', cities: ['Kyoto', 'Tokyo', 'Osaka'], right: 1 },
    ]);
    const gold = { query: 'The sky is', choices: ['blue', 'green'], gold: 0 };
    writeRows('colours.jsonl', [gold, gold, gold]);
    writeFileSync(
      join(folder, 'capitals.yaml'),
      `task: capitals
dataset_path: json
dataset_kwargs: { data_files: { test: capitals.jsonl } }
test_split: test
output_type: multiple_choice
doc_to_text: 'Capital of {{country}}:'
doc_to_choice: cities
doc_to_target: right
metric_list: [{ metric: acc }]
`,
    );
    writeFileSync(join(folder, 'recipe.yaml'), 'tasks: [capitals.yaml, colours.jsonl]\n');
    const { code, stdout, stderr } = await run('--config', join(folder, 'recipe.yaml'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\| capitals +\| +0 \| +2 \| acc +\|.*\n\| colours +\| +1 \| +3 \| acc /);
    const { configs } = JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'));
    expect(configs.capitals).toMatchObject({ doc_to_choice: 'cities', output_type: 'multiple_choice' });
  });

  it('fetches the data sets of its tasks from the Hub, and nothing else', async () => {
    const hub = new FakeHub();
    const lines = (records: readonly unknown[]) => records.map((record) => JSON.stringify(record)).join('\n');
    const ending = { ctx_a: 'A man sails.', ctx_b: 'then he', endings: ['a', 'b', 'c', 'd'], label: 0 };
    const scenes = (count: number) =>
      lines(Array.from({ length: count }, (_, ind) => ({ ind, activity_label: 'Sailing', ...ending })));
    hub.repositories.set('datasets/baber/piqa', {
      files: { 'piqa_train.parquet': lines(rows(9)), 'piqa_validation.parquet': lines(rows(6)) },
    });
    hub.repositories.set('datasets/Rowan/hellaswag', {
      files: {
        'default/train/0000.parquet': scenes(4),
        'default/train/0001.parquet': scenes(2),
        'default/test/0000.parquet': scenes(2),
        'default/validation/0000.parquet': scenes(3),
      },
    });
    vi.stubEnv('HF_ENDPOINT', await hub.start());
    vi.stubEnv('HF_HUB_CACHE', join(folder, 'hub'));
    onTestFinished(async () => {
      vi.unstubAllEnvs();
      await hub.close();
    });
    const given = ['--data', 'hub', '--set', 'num_fewshot={"hellaswag":1}', '--tasks'];
    const { code, stdout, stderr } = await run('--json', '--limit', '1', ...given, 'piqa,hellaswag');
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining('download     datasets/Rowan/hellaswag@refs/convert/parquet: 2 files'),
    });
    expect(JSON.parse(stdout)['n-samples']).toMatchObject({
      piqa: { original: 6 },
      hellaswag: { original: 3 },
    });
    const files = () => hub.downloads.map(({ path }) => path.split('/').slice(-2).join('/'));
    const fetched = ['train/0000.parquet', 'train/0001.parquet', 'validation/0000.parquet'];
    expect(
      files()
        .filter((file) => !file.includes('piqa'))
        .sort(),
    ).toEqual(fetched);
    expect(files().filter((file) => file.includes('piqa_train'))).toEqual([]);
    const { data } = JSON.parse(readFileSync(join(folder, 'out/environment.json'), 'utf8'));
    const commit = hub.commitOf('datasets/baber/piqa');
    expect(data.piqa).toEqual([`hf://datasets/baber/piqa@${commit}/piqa_validation.parquet`]);
    expect(Object.keys(data).sort()).toEqual(['hellaswag', 'hellaswag_train', 'piqa']);
  });

  it('asks a chat server, after a pause again, resumes from the cache, and refuses what it cannot answer', async () => {
    const bodies: { messages: { role: string; content: string }[] }[] = [];
    const server = createServer(async (request, response) => {
      let text = '';
      for await (const part of request) text += part;
      bodies.push({ ...JSON.parse(text), path: request.url });
      if (bodies.length === 2) return void response.writeHead(429, { 'retry-after': '0.1' }).end();
      const question = bodies.at(-1)!.messages.at(-1)!.content;
      const content = `It is ${question.includes('1 +') ? '2' : '9'}.`;
      response.end(JSON.stringify({ choices: [{ message: { content }, finish_reason: 'stop' }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    writeRows(
      'gsm8k_test.jsonl',
      [1, 2, 3].map((n) => ({ question: `What is ${n} + ${n}? 🙂`, answer: `So.\n#### ${2 * n}` })),
    );
    writeRows('gsm8k_train.jsonl', [{ question: 'What is 0?', answer: '#### 0' }]);
    writeRows('piqa_valid.jsonl', rows(6));
    const ask = (tasks: string, ...more: string[]) => {
      const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
      const flags = ['--endpoint', endpoint, '--endpoint-api', 'chat', '--endpoint-model', 'org/m'];
      const folders = ['--data', folder, '--out', join(folder, 'out'), '--cache', join(folder, 'cache')];
      const given = ['--num-fewshot', '1', '--system-instruction', 'Be brief.', ...more];
      return captureOutput((io) =>
        evaluateCommand(['run', ...flags, ...folders, '--tasks', tasks, ...given], io),
      );
    };
    const { code, stdout, stderr } = await ask('gsm8k');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^model +org\/m$/m);
    expect(stdout).toMatch(/exact_match,flexible-extract +\| ↑ +\| 0\.3333 /);
    expect(bodies).toHaveLength(4);
    expect(bodies[0]).toEqual({
      path: '/v1/chat/completions',
      model: 'org/m',
      max_tokens: 256,
      temperature: 0,
      stop: ['Question:', '</s>', '<|im_end|>'],
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Question: What is 0?\nAnswer:' },
        { role: 'assistant', content: '#### 0' },
        { role: 'user', content: expect.stringMatching(/^Question: What is \d \+ \d\? 🙂\nAnswer:$/) },
      ],
    });
    expect((await ask('gsm8k')).stdout).toMatch(/3 rows evaluated, 0 tokens, 3 cached answers/);
    expect(bodies).toHaveLength(4);
    for (const dry of [[], ['--dry-run']]) {
      const refused = await ask(
        'gsm8k,piqa',
        ...dry,
        '--set',
        `data.piqa_train=${join(folder, 'piqa_valid.jsonl')}`,
      );
      expect(refused.stderr).toMatch(
        /tasks: got piqa, which need log-probabilities or tokens, expected tasks of/,
      );
    }
    expect((await ask('gsm8k', '--bos', '--tokenizer', tinyModel)).stderr).toMatch(
      /model\.tokenizer: got .*, expected none with model\.endpoint_api chat.*\n.*bos: got true, expected none/,
    );
  });

  it('reports all missing or damaged files in a dry run', async () => {
    const damaged = writeRows('damaged.jsonl', [rows(1)[0], 3]);
    const { code, stderr } = await captureOutput((io) =>
      evaluateCommand(
        [
          'run',
          '--dry-run',
          '--model',
          join(folder, 'nowhere'),
          '--tasks',
          'boolq,piqa,arc_easy',
          '--data',
          folder,
        ].concat(['--set', `data.piqa=${damaged}`]),
        io,
      ),
    );
    expect(code).toBe(1);
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(4);
    for (const [i, named] of [
      /data\.boolq: /,
      /damaged\.jsonl, line 2: /,
      /data\.arc_easy: /,
      /nowhere: no such folder/,
    ].entries()) {
      expect(lines[i]).toMatch(/^meap-evaluate: /);
      expect(lines[i]).toMatch(named);
    }
  });

  it('refuses a folder that another evaluation is writing to', async () => {
    const { release } = await acquireLock(join(folder, 'out'));
    const { code, stderr } = await run('--tasks', 'piqa', '--data', folder);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/out\/run\.lock is held by process \d+ on /)]);
    release();
  });

  it('prints the same JSON with cached and recomputed answers', async () => {
    const data = writeRows('rows.jsonl', rows(8));
    const flags = ['--tasks', 'piqa', '--set', `data.piqa=${data}`, '--json'];
    const [first, kept, again] = [
      await run(...flags),
      await run(...flags),
      await run(...flags, '--resume', 'never'),
    ];
    expect(first.code).toBe(0);
    expect(first.stdout.split('\n')).toHaveLength(2);
    expect(kept.stdout).toBe(first.stdout);
    expect(again.stdout).toBe(first.stdout);
    expect(kept.stderr).toContain('16 cached answers');
    expect(again.stderr).not.toContain('cached');
  });

  it('evaluates selected rows only, and prints a plan', async () => {
    const data = writeRows('rows.jsonl', rows(30));
    const flags = ['--tasks', 'piqa', '--set', `data.piqa=${data}`, '--samples', '3,10-12'];
    const { stdout } = await run(...flags, '--dry-run', '--json');
    expect(JSON.parse(stdout).tasks).toEqual([
      { task: 'piqa', rows: 4, requests: 8, tokens: expect.any(Number), skipped: {} },
    ]);
    await run(...flags);
    const task = JSON.parse(readFileSync(join(folder, 'out/tasks/piqa.json'), 'utf8'));
    expect(task.samples.map(({ id }: { id: string }) => id)).toEqual(['3', '10', '11', '12']);
  });

  it('puts examples of the train split and a chat template into the prompts', async () => {
    writeRows('piqa_valid.jsonl', rows(3));
    writeRows('piqa_train.jsonl', rows(3).slice(1).concat(rows(5).slice(3)));
    const flags = ['--tasks', 'piqa', '--data', folder, '--log-samples'];
    const requests = () =>
      readFileSync(join(folder, 'out/samples_piqa.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => Object.values<{ arg_0: string; arg_1: string }>(JSON.parse(line).arguments));
    const { code, stdout, stderr } = await run(...flags, '--num-fewshot', '1');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('| piqa (1-shot) |');
    expect(JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'))['n-shot']).toEqual({ piqa: 1 });
    for (const [row, [{ arg_0: prompt }]] of requests().entries()) {
      const [, goal] = /^Question: open (\d)\nAnswer: .+\n\nQuestion: open \d\nAnswer:$/.exec(prompt)!;
      expect(Number(goal)).not.toBe(row);
    }
    const set = ['--set', 'num_fewshot={piqa: 1}', '--set', 'fewshot_seed=3'];
    const chat = ['--apply-chat-template', 'llama-2', '--system-instruction', 'Be brief.'];
    const third = await run(...flags, ...set, ...chat, '--no-fewshot-as-multiturn', '--samples', '2');
    expect(third.stderr).toBe('');
    const [[{ arg_0: prompt, arg_1: choice }]] = requests();
    expect(prompt).toMatch(
      /^<s>\[INST\] <<SYS>>\nBe brief\.\n<<\/SYS>>\n\nQuestion: .*\nAnswer: .*\n\nQuestion: open 2\nAnswer: \[\/INST\]$/,
    );
    expect(choice).toBe('with a key');
    const { config } = JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'));
    expect(config.apply_chat_template).toBe('llama-2');
    const plan = await run(...flags, ...set, ...chat, '--dry-run', '--json');
    expect(JSON.parse(plan.stdout).tasks[0].rows).toBe(3);
  });

  it('generates answers, and votes among several', async () => {
    const problems = Array.from({ length: 3 }, (_, i) => ({
      question: `${i} + 1?`,
      answer: `#### ${i + 1}`,
    }));
    writeRows('gsm8k_test.jsonl', problems);
    writeRows('gsm8k_train.jsonl', problems);
    const flags = ['--tasks', 'gsm8k', '--data', folder, '--num-fewshot', '1', '--log-samples'];
    const refused = await run(...flags, '--set', 'generate_until={max_gen_toks: 4, repeats: 3}');
    expect(refused.stderr).toMatch(/gsm8k: repeats is 3 with temperature 0, .*; set a temperature/);
    const settings = 'generate_until={max_gen_toks: 4, repeats: 3, temperature: 1}';
    const { code, stdout, stderr } = await run(...flags, '--set', settings);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /gsm8k \(1-shot\).*exact_match,strict-match .*\n.*exact_match,flexible-extract .*\n.*exact_match,maj@3 /,
    );
    const { results } = JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'));
    expect(results.gsm8k).toMatchObject({ 'exact_match,maj@3': 0, 'exact_match_stderr,strict-match': 0 });
    const [sample] = readFileSync(join(folder, 'out/samples_gsm8k.jsonl'), 'utf8').split('\n');
    const { arguments: asked, resps } = JSON.parse(sample);
    expect(asked.gen_args_0.arg_0).toMatch(
      /^Question: \d \+ 1\?\nAnswer: #### \d\n\nQuestion: 0 \+ 1\?\nAnswer:$/,
    );
    expect(new Set(resps[0]).size).toBeGreaterThan(1);
    const long = await run(...flags);
    expect(long.stdout).toMatch(
      /gsm8k: 3 rows skipped.*256 tokens leave no room .* reads 32; lower max_gen_toks/,
    );
  });

  it('evaluates subjects as tasks and their groups', async () => {
    const question = (subject: string, i: number) => ({
      question: `${i}?`,
      subject,
      choices: ['a', 'b', 'c', 'd'],
      answer: i % 4,
    });
    const subjects = ['virology', 'anatomy'];
    const all = subjects.flatMap((subject) => [0, 1, 2].map((i) => question(subject, i)));
    writeRows('mmlu_test.jsonl', all);
    writeRows('mmlu_dev.jsonl', all.slice(0, 4));
    const flags = ['--tasks', 'mmlu', '--data', folder, '--log-samples'];
    const none = await run(...flags);
    expect(none.stderr).toMatch(
      /data\.mmlu: got no rows with .* and 52 more as subject, .*; add their files, or choose others, as in --set mmlu\.subjects=/,
    );
    const set = ['--set', 'mmlu.subjects=[virology, anatomy]'];
    const few = await run(...flags, ...set, '--num-fewshot', '2');
    expect(few.stderr).toMatch(/mmlu_anatomy: num_fewshot is too large, got 2 with 1 rows in the split dev/);
    const { code, stdout, stderr } = await run(...flags, ...set, '--num-fewshot', '1');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\| mmlu_virology \(1-shot\) \| +1 \| +3 \|/);
    expect(stdout).toMatch(
      /\| Groups +\|.*\n.*\n\| mmlu +\| +2 \| +6 \| acc .*\n\| mmlu_other +\|.*\n\| mmlu_stem /,
    );
    const [line] = readFileSync(join(folder, 'out/samples_mmlu_virology.jsonl'), 'utf8').split('\n');
    expect(Object.values(JSON.parse(line).arguments.gen_args_3)).toEqual([
      'The following are multiple choice questions (with answers) about virology.\n\n' +
        '0?\nA. a\nB. b\nC. c\nD. d\nAnswer: A\n\n0?\nA. a\nB. b\nC. c\nD. d\nAnswer:',
      ' D',
    ]);
    // Groups are no tasks.
    const again = await captureOutput((io) =>
      evaluateCommand(['report', join(folder, 'out'), '--out', join(folder, 'r.html')], io),
    );
    expect(again.code, again.stderr).toBe(0);
    const page = readFileSync(join(folder, 'r.html'), 'utf8');
    expect(page).toContain('Multiple-choice tasks: mmlu<');
    expect(page).toMatch(/MMLU, anatomy, 1-shot[\s\S]*mmlu_stem \(group\)[\s\S]*mmlu \(group\)/);
  });

  it('counts skipped rows', async () => {
    const data = writeRows('rows.jsonl', [...rows(2), { ...rows(1)[0], sol1: 'key '.repeat(60) }]);
    const { code, stdout } = await run('--tasks', 'piqa', '--set', `data.piqa=${data}`);
    expect(code).toBe(0);
    expect(stdout).toMatch(/piqa: 1 row skipped, the first: 2: \d+ tokens to score, the model reads 32/);
  });

  it.each([
    [['--tasks', 'piqqa'], /tasks\.0: got "piqqa", expected a task .*; did you mean piqa\?/],
    [[], /tasks: got \[\], expected at least one task/],
    [['--tasks', 'piqa'], /data\.piqa: no data folder given.*baber\/piqa.*--data DIR/],
    [['--tasks', 'piqa', '--data', 'EMPTY'], /data\.piqa: not found in .*EMPTY/],
    [
      ['--tasks', 'piqa', '--data', 'ABSENT'],
      /data\.folder: got .*ABSENT, which does not exist, expected a folder .*; correct --data DIR$/m,
    ],
    [['--tasks', 'piqa', '--set', 'data.piqa=absent.jsonl'], /no such file .*absent\.jsonl/],
    [['--tasks', 'piqa', '--set', 'data.piga=a'], /data\.piga: unknown key; did you mean piqa\?/],
    [
      ['--tasks', 'piqa', '--limit', '0'],
      /limit: got 0, expected a whole number above 0, or a fraction below 1/,
    ],
    [
      ['--tasks', 'piqa', '--limit', '1.5'],
      /limit: got 1\.5, expected a whole number above 0, or a fraction/,
    ],
    [['--tasks', 'piqa', '--num-fewshot', '2'], /data\.piqa_train: no data folder given.*baber\/piqa/],
    [
      ['--tasks', 'piqa', '--num-fewshot', '3', '--set', 'data.piqa_train=rows.jsonl'],
      /piqa: num_fewshot is too large, got 3 with 3 rows in the split train, expected at most 2; lower/,
    ],
    [
      ['--tasks', 'niah', '--num-fewshot', '1'],
      /num_fewshot: got 1, expected none with niah, which take no examples/,
    ],
    [
      ['--tasks', 'piqa', '--set', 'num_fewshot.niah=1'],
      /num_fewshot\.niah: got 1, expected the name of a task that takes examples/,
    ],
    [['--tasks', 'piqa', '--apply-chat-template'], /no chat template, .*set --apply-chat-template to one of/],
    [['--tasks', 'niah', '--apply-chat-template'], /apply_chat_template: got true, expected none with niah/],
    [
      ['--tasks', 'piqa', '--fewshot-as-multiturn'],
      /fewshot_as_multiturn: got true, expected none without apply_chat_template/,
    ],
    [
      ['--tasks', 'gsm8k', '--set', 'generate_until.until=[]'],
      /generate_until\.until: got \[\], expected at least one text/,
    ],
    [
      ['--tasks', 'gsm8k', '--set', 'generate_until.until=[""]'],
      /generate_until\.until\.0: got "", expected text that is not empty/,
    ],
    [['--tasks', 'piqa', '--samples', '5-3'], /expected row numbers from 0/],
    [['--tasks', 'piqa', '--limit', '2', '--samples', '1'], /limit: got 2, expected either limit or samples/],
    [['--tasks', 'piqa', '--model', 'ABSENT'], /model .*ABSENT: no such folder/],
    [['--tasks', 'piqa', '--model', 'EMPTY'], /model .*EMPTY: contains no config.json, model or checkpoints/],
    [['--tasks', 'piqa', '--backend', 'gpu'], /backend: got "gpu", expected one of auto, .*webgpu/],
    [
      ['--tasks', 'piqa', '--config', 'absent.yaml'],
      /--config: got "absent\.yaml", neither a file in .* one of .*zero-shot/,
    ],
  ])('refuses %j', async (args, message) => {
    mkdirSync(join(folder, 'EMPTY'));
    const data = args.some((arg) => /data(?!\.piqa_train)|piqqa/.test(arg)) || args.length === 2;
    const good = data ? [] : ['--set', `data.piqa=${writeRows('rows.jsonl', rows(3))}`];
    const absolute = args.map((arg) =>
      arg.replace(/^[A-Z]+$|(?<==)rows\.jsonl$/, (name) => join(folder, name)),
    );
    const { code, stderr } = await run(...good, ...absolute);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBeGreaterThan(0);
  });

  it('reports a malformed row, ambiguous files, and a folder that cannot be written', async () => {
    const bad = writeRows('piqa_a.jsonl', [rows(1)[0], { goal: 'x' }]);
    const malformed = await run('--tasks', 'piqa', '--set', `data.piqa=${bad}`);
    expect(malformed.stderr).toMatch(/piqa, row 1: field sol1 is wrong, got nothing, expected a text/);
    const cut = join(folder, 'cut.jsonl');
    writeFileSync(cut, `${JSON.stringify(rows(1)[0])}\n{"goal":\n`);
    const notJson = await run('--tasks', 'piqa', '--set', `data.piqa=${cut}`);
    expect(notJson.stderr).toMatch(/cut\.jsonl, line 2: .*; correct it, or remove it from the file$/m);
    expect(notJson.stderr).not.toContain('onBadRecord');
    const none = writeRows('none.jsonl', []);
    const empty = await run('--tasks', 'piqa', '--set', `data.piqa=${none}`);
    expect(empty.stderr).toMatch(/none\.jsonl: got no records, expected at least one; choose other files$/m);
    expect(empty.code).toBe(2);
    writeRows('piqa_b.jsonl', rows(1));
    const ambiguous = await run('--tasks', 'piqa', '--data', folder);
    expect(ambiguous.stderr).toMatch(/got 2 matching files \(piqa_a.jsonl, piqa_b.jsonl\)/);
    writeFileSync(join(folder, 'file'), '');
    const unwritable = await run(
      '--tasks',
      'piqa',
      '--set',
      `data.piqa=${bad}`,
      '--out',
      join(folder, 'file/out'),
    );
    expect(unwritable.stderr).toMatch(/--out .*cannot be written/);
    expect([malformed.code, ambiguous.code, unwritable.code]).toEqual([1, 2, 1]);
  });
});

describe('meap-evaluate compare', () => {
  it('compares two finished evaluations, or evaluates first', async () => {
    const data = writeRows('rows.jsonl', rows(12));
    const flags = ['--tasks', 'piqa', '--set', `data.piqa=${data}`];
    const [a, b] = [join(folder, 'a'), join(folder, 'b')];
    await run(...flags, '--out', a);
    await run(...flags, '--out', b, '--bos');
    const compare = (...args: string[]) =>
      captureOutput((io) =>
        evaluateCommand(
          ['compare', ...args, '--cache', join(folder, 'cache'), '--out', join(folder, 'c')],
          io,
        ),
      );
    const { code, stdout, stderr } = await compare(a, b);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/\| piqa +\| 12 \| acc +\| ↑ +\| 0\.\d{4} \| 0\.\d{4} \| [+-]0\.\d{4} \| +[+-]/);
    expect(stdout).toContain('piqa: different settings: bos');
    expect(readFileSync(join(folder, 'c/report.html'), 'utf8')).toContain(
      'Evaluation of checkpoint (a) and checkpoint (b)',
    );
    const models = await compare(a, tinyModel, ...flags, '--json');
    expect(JSON.parse(models.stdout)).toMatchObject([
      { task: 'piqa', differentConfig: [], metrics: { acc: { difference: 0, numItems: 12 } } },
    ]);
    const other = await compare(a, join(folder, 'absent'), ...flags);
    expect(other.stderr).toMatch(/absent: no such folder/);
    expect(other.code).toBe(1);
  });
});

describe('meap-evaluate attention', () => {
  const attention = (...args: string[]) =>
    captureOutput((io) =>
      evaluateCommand(
        [
          'attention',
          tinyModel,
          meap,
          '--out',
          join(folder, 'out'),
          '--cache',
          join(folder, 'cache'),
          ...args,
        ],
        io,
      ),
    );
  let meap = tinyModel;
  const small = ['--set', 'attention.lengths=[16]', '--set', 'attention.sequences=3'];

  it('compares two models on texts, and their attention in prompts', async () => {
    writeFileSync(join(folder, 'a.txt'), 'Call me Ishmael. Some years ago, never mind how long. '.repeat(4));
    writeRows('attention_prompts.jsonl', [
      { context_before: 'One. ', answer: 'Red.', context_after: ' Two.', query: ' What?' },
    ]);
    const texts = ['--set', `data.texts=${join(folder, '*.txt')}`, '--data', folder];
    const { code, stdout } = await attention(...texts, ...small, '--json');
    expect(code).toBe(0);
    const { contrasts, shares } = JSON.parse(stdout);
    expect(contrasts).toMatchObject([{ length: 16, numSequences: 3 }]);
    expect(shares).toHaveLength(2);
    const sum = shares[0].segments.reduce((sum: number, { share }: { share: number }) => sum + share, 0);
    expect(sum).toBeCloseTo(1, 5);
    expect(shares[0].tokenTexts[0].join('')).toBe('<s>One. Red. Two. What?</s>');
    expect(shares[0].tokenTexts[0]).toHaveLength(shares[0].prompts[0].tokens.length);
    const answers = join(folder, 'cache/answers/attention/answers.sqlite');
    const { mtimeMs } = statSync(answers);
    const shown = await attention(...texts, ...small);
    // Everything was cached.
    expect(statSync(answers).mtimeMs).toBe(mtimeMs);
    expect(shown.stdout).toMatch(/^backend .*\nmodel +checkpoint, context of 32 tokens\nmodel /);
    expect(shown.stdout).toMatch(/score at masked keys \(decay\)/);
    expect(shown.stdout).toContain(`report       ${join(folder, 'out/report.html')}`);
    const page = readFileSync(join(folder, 'out/report.html'), 'utf8');
    expect(page.match(/<span style="--share: [\d.]+"/g)).toHaveLength(2 * shares[0].tokenTexts[0].length);
  });

  it('refuses a model with another vocabulary, and says so', async () => {
    meap = join(folder, 'other');
    cpSync(tinyModel, meap, { recursive: true });
    const file = join(meap, 'tokenizer.json');
    const tokenizer = JSON.parse(readFileSync(file, 'utf8'));
    const [[a, idOfA], [b, idOfB]] = Object.entries<number>(tokenizer.model.vocab).slice(-2);
    Object.assign(tokenizer.model.vocab, { [a]: idOfB, [b]: idOfA });
    writeFileSync(file, JSON.stringify(tokenizer));
    writeFileSync(join(folder, 'a.txt'), 'Call me Ishmael. Some years ago. '.repeat(4));
    const { code, stderr } = await attention('--set', `data.texts=${join(folder, '*.txt')}`, ...small);
    meap = tinyModel;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-evaluate: attention: the vocabularies of .* differ: id \d+ is ".+" and ".+"; expected the same tokens .*\n$/,
    );
  });

  it('refuses lengths, numbers of sequences and prompts that do not fit', async () => {
    writeFileSync(join(folder, 'a.txt'), 'Call me Ishmael. Some years ago, never mind how long. '.repeat(4));
    const texts = ['--set', `data.texts=${join(folder, '*.txt')}`, '--data', folder];
    const long = await attention(...texts);
    expect(long.stderr).toMatch(/attention\.lengths: got 1024, expected at most 32/);
    const many = await attention(...texts, ...small, '--set', 'attention.sequences=400');
    expect(many.stderr).toMatch(/got texts for \d+ sequences of 16 tokens, expected 400/);
    writeRows('attention_prompts.jsonl', [
      { context_before: 'One. '.repeat(40), answer: 'Red.', context_after: ' Two.', query: ' What?' },
    ]);
    const wide = await attention(...texts, ...small);
    expect(wide.stderr).toMatch(/attention_prompts, row 0: got a prompt of \d+ tokens, expected at most 32/);
  });
});

describe('meap-evaluate', () => {
  it('lists tasks with their data', async () => {
    const { code, stdout } = await captureOutput((io) => evaluateCommand(['list'], io));
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^hellaswag +continuation of a scene\n +data\.hellaswag: HellaSwag, validation split; --data hub fetches hf:/m,
    );
    expect(stdout).toMatch(/data\.logiqa: LogiQA, test split; EleutherAI\/logiqa on the Hugging Face hub$/m);
    const { stdout: json } = await captureOutput((io) => evaluateCommand(['list', '--json'], io));
    expect(JSON.parse(json.split('\n').find((line) => line.includes('"task":"race"'))!).data).toEqual([
      {
        name: 'race',
        what: 'RACE of high schools, test split',
        source: 'EleutherAI/race (high) on the Hugging Face hub',
        hub: {
          repo: 'EleutherAI/race',
          revision: 'main',
          config: 'high',
          split: 'test',
          files: 'high/test-*.parquet',
        },
      },
    ]);
    expect(stdout).toMatch(/^meap-paper +the seven .*: arc_challenge, .*, winogrande$/m);
  });

  it('evaluates the tasks of a built-in group, with their means', async () => {
    const choices = { text: ['a', 'b c'], label: ['A', 'B'] };
    const question = { question: 'Which?', question_stem: 'Which', choices, answerKey: 'B' };
    for (const name of ['arc_challenge', 'arc_easy', 'openbookqa']) writeRows(`${name}.jsonl`, [question]);
    writeRows('boolq.jsonl', [{ passage: 'It is.', question: 'is it', label: 1 }]);
    const endings = ['a', 'b', 'c', 'd'];
    const scene = { activity_label: 'A', ctx_a: 'He sat.', ctx_b: 'he', endings, label: '0' };
    writeRows('hellaswag.jsonl', [scene]);
    writeRows('piqa.jsonl', rows(3));
    const schema = { sentence: 'He saw _ swim.', option1: 'it', option2: 'her', answer: '1' };
    writeRows('winogrande.jsonl', [schema, { ...schema, answer: '2' }]);
    const { code, stdout, stderr } = await run('--tasks', 'meap-paper', '--data', folder);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^\| meap-paper \|[^\n]* acc .*\n\|[^\n]* acc_norm/m);
    const { results, groups } = JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'));
    const members = Object.keys(results).filter((name) => name !== 'meap-paper');
    for (const metric of ['acc,none', 'acc_norm,none']) {
      const values: number[] = members.flatMap((name) => results[name][metric] ?? []);
      expect(values).toHaveLength(metric === 'acc,none' ? 7 : 5);
      const sum = values.reduce((total, value) => total + value, 0);
      expect(groups['meap-paper'][metric]).toBeCloseTo(sum / values.length, 12);
    }
  });

  it.each([
    ['leaderboard', /tasks\.0: got "leaderboard", expected a group that needs no Python: .*SymPy/],
    ['tinyBenchmarks', /tasks\.0: got "tinyBenchmarks", expected a group that needs no Python/],
    ['meap_paper', /did you mean meap-paper\?/],
  ])('says why it has no %s', async (task, message) => {
    const { code, stderr } = await run('--tasks', task);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('lists its commands, and refuses unknown ones', async () => {
    const none = await captureOutput((io) => evaluateCommand([], io));
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(/Commands:\n +run/);
    const unknown = await captureOutput((io) => evaluateCommand(['rnu'], io));
    expect(unknown.stderr).toMatch(/unknown command 'rnu'|too many arguments/);
    expect(unknown.code).toBe(2);
  });
});
