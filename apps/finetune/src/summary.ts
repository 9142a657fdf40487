/** The output of a finished run: loss curve, answers before and after, paths. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  describeProbeCurves,
  duration,
  lossCurveText,
  medianThroughput,
  plainText,
  probeCurves,
  readLastSamples,
  readMetrics,
  short,
} from '@meap/recipe-cli';
import { bestCheckpoint, listCheckpoints } from '@meap/trainer';
import { readBaseline } from './baseline.ts';
import { answerCurve, changeOf, maskedCurve } from './report.ts';

/** Formats the summary of a run in `out`. */
export async function renderSummary(out: string, seconds: number): Promise<string> {
  const { steps, validations, probes } = readMetrics(out);
  const baseline = readBaseline(out);
  const sections: string[] = [];
  const curve = lossCurveText(steps);
  if (curve) sections.push(curve);
  for (const [i, { prompt, text }] of readLastSamples(out).entries()) {
    const before = baseline?.samples[i];
    const lines = [`question  ${prompt}`];
    if (before?.prompt === prompt) lines.push(`before    ${before.text}`);
    lines.push(`after     ${text}`);
    sections.push(lines.map((line) => plainText(line.replace(/\n/g, '\n          '))).join('\n'));
  }
  const [newest] = await listCheckpoints(join(out, 'checkpoints'));
  const best = await bestCheckpoint(join(out, 'checkpoints'));
  const [answers, masked] = [answerCurve, maskedCurve].map((curve) => curve(baseline, validations));
  const probed = probeCurves(probes);
  const ofMasked = masked.length > 1 ? `, of masked tokens ${changeOf(masked)}` : '';
  sections.push(
    [
      ...(answers.length > 1 ? [`held-out     loss of answers ${changeOf(answers)}${ofMasked}`] : []),
      ...(probed.length > 0 ? [`probes       ${describeProbeCurves(probed)}`] : []),
      `trained      on ${short(steps.at(-1)?.tokens ?? 0)} tokens, ${short(medianThroughput(steps))} tokens/s, ${duration(seconds)} in all`,
      `model        ${join(out, 'model')}   (transformers loads it; talk to it: meap-chat --model ${join(out, 'model')})`,
      ...(existsSync(join(out, 'adapter')) ? [`adapter      ${join(out, 'adapter')}   (PEFT loads it)`] : []),
      ...(best && best !== newest ? [`best         ${best}   (by held-out loss)`] : []),
      `report       ${join(out, 'report.html')}`,
      `metrics      ${join(out, 'metrics.jsonl')}, and tensorboard --logdir ${out}`,
    ].join('\n'),
  );
  return sections.join('\n\n');
}
