import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from './config.ts';
import { makePlan, planToYaml, runsOf } from './plan.ts';
import { fixPlan, readStudy } from './study-files.ts';
import { addResult, fixStudy, newFolder, removeFolders, STUDY, writeStudy } from './testing.ts';

removeFolders();

const planOf = (study: object) => planToYaml(makePlan(loadConfig(writeStudy(study))));

describe('the plan', () => {
  it('holds the keys of recipes, not their files, and no seeds', () => {
    const plan = parse(planOf(STUDY));
    expect(plan.steps.pretrain).toEqual({
      program: 'pretrain',
      recipe: { train: { max_steps: 8, sequence_length: 16 } },
      set: { 'train.max_steps': 4 },
    });
    expect(plan.arms.meap).toEqual({ pretrain: { 'masking.ratio': 0.15 } });
    expect(planOf({ ...STUDY, seeds: [5] })).toBe(planOf(STUDY));
    expect(planOf({ ...STUDY, title: 'Another' })).not.toBe(planOf(STUDY));
  });

  it('has a hash that sha256sum checks', () => {
    const { out } = fixStudy(STUDY);
    const hash = createHash('sha256')
      .update(readFileSync(join(out, 'plan.yaml')))
      .digest('hex');
    expect(readFileSync(join(out, 'plan.sha256'), 'utf8')).toBe(`${hash}  plan.yaml\n`);
    expect(readStudy(out).hash).toBe(hash);
  });

  it('orders runs seed by seed', () => {
    expect(runsOf({ ntp: [1, 0], meap: [0] }).map(({ arm, seed }) => `${arm}${seed}`)).toEqual([
      'ntp0',
      'meap0',
      'ntp1',
    ]);
  });
});

describe('fixPlan', () => {
  it('takes another plan while there are no runs', () => {
    const { out } = fixStudy(STUDY);
    const file = writeStudy({ ...STUDY, title: 'Another' });
    fixPlan(out, loadConfig(file), file);
    expect(readStudy(out).plan.title).toBe('Another');
  });

  it('refuses another plan once there are runs, and names the keys', () => {
    const { out } = fixStudy(STUDY);
    addResult(out, 'ntp', 0, { loss: { value: 2 } });
    const file = writeStudy({ ...STUDY, arms: { ...STUDY.arms, ntp: { set: {} } }, kind: 'exploratory' });
    expect(() => fixPlan(out, loadConfig(file), file)).toThrow(
      /the plan has changed since its runs began.*kind: "confirmatory" → "exploratory"; arms\.ntp\.pretrain\.masking\.ratio: 0 → nothing/,
    );
    expect(readStudy(out).plan.kind).toBe('confirmatory');
  });

  it('sees a recipe that has changed', () => {
    const { out, config, file } = fixStudy(STUDY);
    addResult(out, 'ntp', 0, { loss: { value: 2 } });
    writeFileSync(config.steps.pretrain.recipe!, 'train: {max_steps: 8, sequence_length: 32}\n');
    expect(() => fixPlan(out, config, file)).toThrow('recipe.train.sequence_length: 16 → 32');
  });

  it('adds seeds, and records after how many runs', () => {
    const { out, file } = fixStudy({ ...STUDY, seeds: [0] });
    addResult(out, 'ntp', 0, { loss: { value: 2 } });
    const more = writeStudy({ ...STUDY, seeds: [0, 3] });
    fixPlan(out, loadConfig(more), more);
    const { record, runs } = readStudy(out);
    expect(record.seeds[1]).toEqual({ finished: 1, added: { ntp: [3], meap: [3] } });
    expect(runs).toHaveLength(4);
    // Seeds that are no longer asked for stay: leaving them out after the fact would be a choice of results.
    fixPlan(out, loadConfig(file), file);
    expect(readStudy(out).runs).toHaveLength(4);
  });

  it('refuses a folder with runs of something else', () => {
    const { out, config, file } = fixStudy(STUDY);
    addResult(out, 'ntp', 0, { loss: { value: 2 } });
    rmSync(join(out, 'plan.yaml'));
    expect(() => fixPlan(out, config, file)).toThrow('has runs without plan.yaml');
  });
});

describe('readStudy', () => {
  it('refuses an edited plan, and results of another', () => {
    const { out } = fixStudy(STUDY);
    addResult(out, 'ntp', 0, { loss: { value: 2 } });
    const path = join(out, 'results/ntp-seed-0.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"plan":"\w+"/, '"plan":"0"'));
    expect(() => readStudy(out)).toThrow('is of plan 0, expected');
    const plan = join(out, 'plan.yaml');
    writeFileSync(plan, readFileSync(plan, 'utf8').replace('confirmatory', 'exploratory'));
    expect(() => readStudy(out)).toThrow('the plan was edited');
  });

  it('says what an empty folder lacks', () => {
    const folder = newFolder();
    expect(() => readStudy(folder)).toThrow('expected the folder of a study');
    expect(existsSync(join(folder, 'plan.yaml'))).toBe(false);
  });
});
