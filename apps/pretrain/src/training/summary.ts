/** The output of a finished run: loss curve, samples, validation, probes, paths. */
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
  recentMaskedRow,
  type SampleLine,
  short,
} from '@meap/recipe-cli';
import { bestCheckpoint, listCheckpoints } from '@meap/trainer';
import { describeDocuments } from './describe-documents.ts';
import type { RunFacts } from './run-facts.ts';

/** Characters of the masked row. */
const ROW_WIDTH = 300;

/** Characters shown of a prompt from the validation text. */
const PROMPT_WIDTH = 200;

function describeSample({ prompt, text, reference }: SampleLine): string {
  const line = (text: string) => plainText(text.replace(/\s+/g, ' ').trim());
  if (reference !== undefined) {
    const shown = line(prompt);
    const end = shown.length > PROMPT_WIDTH ? `… ${shown.slice(-PROMPT_WIDTH)}` : shown;
    return `sample of held-out text, after\n${end}\nthe text goes on: ${line(reference)}\nthe model goes on: ${line(text)}`;
  }
  const heading = prompt ? `sample after ${JSON.stringify(prompt)}` : 'sample without a prompt';
  return `${heading}\n${plainText(prompt + text)}`;
}

/** Formats the summary of a run in `out`. */
export async function renderSummary(out: string, facts: RunFacts, seconds: number): Promise<string> {
  const { steps, validations, probes } = readMetrics(out);
  const validation = validations.at(-1);
  const curve = lossCurveText(steps);
  const sections: string[] = [];
  if (curve) sections.push(curve);
  const row = facts.maskToken && recentMaskedRow(out, ROW_WIDTH, facts.maskToken);
  if (row) sections.push(`a row as the model reads it, masked: ${plainText(row)}`);
  sections.push(...readLastSamples(out).map(describeSample));
  if (validation) {
    const { bitsPerByte } = validation;
    const comparison = `${bitsPerByte!.toFixed(3)} bits per byte, a unigram model ${facts.unigramBitsPerByte.toFixed(3)}`;
    sections.push(`validation   ${comparison}`);
  }
  const probed = probeCurves(probes);
  if (probed.length > 0) sections.push(`probes       ${describeProbeCurves(probed)}`);
  const notes = describeDocuments(facts.documents, facts.parsesSpecialTokens);
  if (notes.length > 0) sections.push(`data         ${notes.join('; ')}`);
  const [newest] = await listCheckpoints(join(out, 'checkpoints'));
  const best = await bestCheckpoint(join(out, 'checkpoints'));
  const speed = `${short(medianThroughput(steps))} tokens/s`;
  sections.push(
    [
      `trained      ${short(facts.parameters)} parameters on ${short(steps.at(-1)?.tokens ?? 0)} tokens, ${speed}, ${duration(seconds)} in all`,
      `checkpoint   ${newest}   (transformers loads it)`,
      ...(best && best !== newest ? [`best         ${best}   (by validation loss)`] : []),
      `report       ${join(out, 'report.html')}`,
      `metrics      ${join(out, 'metrics.jsonl')}, and tensorboard --logdir ${out}`,
    ].join('\n'),
  );
  return sections.join('\n\n');
}
