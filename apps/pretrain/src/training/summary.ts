/** What a finished run prints: the loss curve, a sample, the figure to judge it by, where everything is. */
import { join } from 'node:path';
import {
  duration,
  lossCurveText,
  medianThroughput,
  plainText,
  readLastSamples,
  readMetrics,
  short,
} from '@meap/recipe-cli';
import { bestCheckpoint, listCheckpoints } from '@meap/trainer';
import { describeDocuments } from './describe-documents.ts';
import type { RunFacts } from './run.ts';

/** The text for people at the end of a run in `out`. */
export async function renderSummary(out: string, facts: RunFacts, seconds: number): Promise<string> {
  const { steps, validations } = readMetrics(out);
  const validation = validations.at(-1);
  const curve = lossCurveText(steps);
  const sections: string[] = [];
  if (curve) sections.push(curve);
  for (const { prompt, text } of readLastSamples(out)) {
    sections.push(
      `sample ${prompt ? `after ${JSON.stringify(prompt)}` : 'from nothing'}\n${plainText(prompt + text)}`,
    );
  }
  if (validation) {
    const { bitsPerByte } = validation;
    const comparison = `${bitsPerByte.toFixed(3)} bits per byte, a unigram model ${facts.unigramBitsPerByte.toFixed(3)}`;
    sections.push(`validation   ${comparison}`);
  }
  const noticed = describeDocuments(facts.documents, facts.parsesSpecialTokens);
  if (noticed.length > 0) sections.push(`data         ${noticed.join('; ')}`);
  const [newest] = await listCheckpoints(join(out, 'checkpoints'));
  const best = await bestCheckpoint(join(out, 'checkpoints'));
  const speed = `${short(medianThroughput(steps))} tokens/s`;
  sections.push(
    [
      `trained      ${short(facts.parameters)} parameters on ${short(steps.at(-1)?.tokens ?? 0)} tokens, ${speed}, ${duration(seconds)} in all`,
      `checkpoint   ${newest}   (transformers loads it)`,
      ...(best && best !== newest ? [`better       ${best}   (by validation)`] : []),
      `report       ${join(out, 'report.html')}`,
      `metrics      ${join(out, 'metrics.jsonl')}, and tensorboard --logdir ${out}`,
    ].join('\n'),
  );
  return sections.join('\n\n');
}
