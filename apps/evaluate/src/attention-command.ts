/** `meap-evaluate attention NTP MEAP`: compares the attention of two models. */
import { basename, join, resolve } from 'node:path';
import type { AttentionDifference } from '@meap/evals';
import { localFolder } from '@meap/inference';
import { commandToResume, openRunDirectory, percent } from '@meap/recipe-cli';
import { markdownTable } from 'markdown-table';
import { type AttentionResults, runAttention } from './attention-run.ts';
import { pValueText } from './comparison-table.ts';
import { readConfig } from './config.ts';
import { describeDepths } from './report/attention-section.ts';
import { reportOn } from './report/report-command.ts';
import { writeJson } from './result-files.ts';
import {
  type RunFlags,
  shownRun,
  storageOptions,
  withCacheFlags,
  withHubNames,
  withRecipeFlags,
} from './run-command.ts';
import { type CommandContext, runShown } from './shown-run.ts';

export function addAttentionCommand({ program, argv, io, done }: CommandContext): void {
  const command = program
    .command('attention')
    .description(
      'Compare the attention of a model trained with MEAP and one trained by next-token prediction.',
    )
    .argument('<ntp>', 'model trained by next-token prediction')
    .argument('<meap>', 'model trained with MEAP')
    .option('--out <dir>', 'folder for attention.json (default: runs/attention-NTP-MEAP)');
  withRecipeFlags(withCacheFlags(command)).action(async (ntp: string, meap: string) => {
    const flags = command.opts<RunFlags>();
    const config = readConfig(flags.config, await withHubNames(flags, io));
    const names = [ntp, meap].map((path) => basename(resolve(path)));
    const out = flags.out ?? join('runs', `attention-${names.join('-')}`);
    openRunDirectory(out, 'auto');
    const { cache } = storageOptions(flags);
    const results = await runShown(
      shownRun(flags, io, commandToResume(program.name(), argv, out), done),
      async ({ onEvent, onDownload }, signal) => {
        const local = (model: string) => localFolder(model, { onEvent: onDownload, signal });
        const models = { ntp: await local(ntp), meap: await local(meap) };
        return runAttention(models, config, { cache, signal, onEvent });
      },
    );
    if (results === undefined) return;
    writeJson(join(out, 'attention.json'), results);
    const report = await reportOn([out], join(out, 'report.html'));
    io.stdout.write(
      flags.json
        ? `${JSON.stringify(results)}\n`
        : `\n${renderAttention(results)}\n\nresults      ${join(out, 'attention.json')}\nreport       ${report}\n`,
    );
  });
}

function renderAttention({ contrasts, shares }: AttentionResults): string {
  const header = ['Length', 'Sequences', '', 'NTP', 'MEAP', 'Change', 't (paired)', 'p'];
  const rows = contrasts.flatMap(({ length, numSequences, scoreDecay, varianceIncrease }) => [
    [String(length), String(numSequences), 'score at masked keys (decay)', ...cells(scoreDecay)],
    ['', '', 'variance over the others (increase)', ...cells(varianceIncrease)],
  ]);
  const tables = [markdownTable([header, ...rows], { align: ['r', 'r', 'l', 'r', 'r', 'r', 'r', 'r'] })];
  const depths = describeDepths(contrasts[0]);
  if (depths !== undefined) tables.push(depths);
  if (shares.length > 0) {
    const names = shares[0].segments.map(({ name }) => name);
    const found = shares.map(({ model, segments }) => [
      model,
      ...names.map((name) => percent(segments.find((segment) => segment.name === name)?.share ?? 0)),
    ]);
    const align = ['l', ...names.map(() => 'r')];
    tables.push('', `Shares of attention, ${shares[0].prompts.length} prompts`, '');
    tables.push(markdownTable([['Model', ...names], ...found], { align }));
  }
  return tables.join('\n');
}

function cells({ ntp, meap, change, paired }: AttentionDifference): string[] {
  return [
    ntp.mean.toExponential(3),
    meap.mean.toExponential(3),
    percent(change),
    paired?.statistic.toFixed(2) ?? '–',
    pValueText(paired?.pValue),
  ];
}
