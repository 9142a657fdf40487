/** Terminal output during a run. */
import {
  bytes,
  flop,
  type OutputStream,
  type Progress,
  type ProgressOutput,
  percent,
  short,
  TrainingProgress,
} from '@meap/recipe-cli';
import type { LengthHistogram, SourceStatistics } from '@meap/token-dataset';
import { describeDocuments } from './describe-documents.ts';
import type { PretrainEvent } from './run.ts';

/** Creates a progress display. */
export function createProgress(
  output: ProgressOutput,
  stream: OutputStream,
): Progress<PretrainEvent> & { onRows(done: number, steps: number): void } {
  const progress = new TrainingProgress(
    output,
    stream,
    ({ bitsPerByte, valLoss }) =>
      `validation ${bitsPerByte!.toFixed(3)} bits per byte, loss ${valLoss.toFixed(3)}`,
  );
  const onData = (event: PretrainEvent & { type: 'data' }) => {
    if (event.stage === 'tokenizer') {
      return progress.line(`tokenizer    training a BPE of ${event.vocabSize} tokens`);
    }
    if ('notice' in event) return progress.line(`data         ${event.stage} text: ${event.notice}`);
    const { stage, phase, bytesDone, bytesTotal, tokens } = event;
    const label = `${stage} text, ${phase === 'hash' ? 'checking' : 'tokenizing'}`;
    const done = `${bytes(bytesDone)} of ${bytes(bytesTotal)}, ${short(tokens)} tokens`;
    progress.stage(label, bytesDone, bytesTotal, done, `data         ${label}, ${bytes(bytesTotal)}`);
  };
  return {
    onEvent(event) {
      switch (event.type) {
        case 'backend':
          progress.line(
            `backend      ${event.name} (${event.device}): ${event.reason}${peakOf(event.peakGflops)}`,
          );
          break;
        case 'data':
          onData(event);
          break;
        case 'ready':
          progress.totalSteps = event.steps;
          for (const line of describeDocuments(event.documents, event.parsesSpecialTokens))
            progress.line(`data         ${line}`);
          for (const source of event.mix ?? []) progress.line(`data         ${describeSource(source)}`);
          progress.line(
            `data         ${short(event.trainTokens)} tokens to train on, ${short(event.validationTokens)} to validate on`,
          );
          progress.line(
            `model        ${short(event.parameters)} parameters, ${event.steps} steps of ${short(event.tokensPerStep)} tokens`,
          );
          break;
        default:
          progress.onTrainEvent(event);
      }
    },
    onRows: (done, steps) => {
      const text = `${done} of ${steps} steps`;
      progress.stage('writing rows', done, steps, text, `rows         of ${steps} steps`);
    },
    note: (text) => progress.line(text),
    close: () => progress.close(),
  };
}

function peakOf(gflops: number | null): string {
  return gflops === null ? '' : `; peak ${flop(gflops * 1e9)}/s`;
}

/** Describes a source: its tokens, and the share of long documents among those read and those kept. */
function describeSource({ name, numTokens, realisedShare, passes, read, kept }: SourceStatistics): string {
  const repeated = passes > 1 ? `, read ${passes} times` : '';
  const longShare = ({ bounds, tokens }: LengthHistogram) => {
    const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
    const short = tokens.filter((_, bin) => (bounds[bin] ?? LONG + 1) <= LONG);
    return percent(1 - sum(short) / Math.max(1, sum(tokens)));
  };
  return (
    `${name}: ${short(numTokens)} tokens, ${percent(realisedShare)}${repeated}; ` +
    `tokens in documents of at least ${LONG}: ${longShare(read)} read, ${longShare(kept)} kept`
  );
}

/** Length of a long document by default; a bound of the histograms. */
const LONG = 4096;
