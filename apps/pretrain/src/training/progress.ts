/** What people see while a run goes on. */
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

/** A progress display on `output`. */
export function createProgress(
  output: ProgressOutput,
  stream: OutputStream,
): Progress<PretrainEvent> & { onRows(done: number, steps: number): void } {
  const progress = new TrainingProgress(
    output,
    stream,
    ({ bitsPerByte, valLoss }) =>
      `validation ${bitsPerByte.toFixed(3)} bits per byte, loss ${valLoss.toFixed(3)}`,
  );
  const onData = (event: PretrainEvent & { type: 'data' }) => {
    if (event.stage === 'tokenizer') {
      return progress.line(`tokenizer    training a BPE of ${event.vocabSize} tokens`);
    }
    if ('notice' in event) return progress.line(`data         ${event.stage} text: ${event.notice}`);
    const { stage, phase, bytesDone, bytesTotal, tokens } = event;
    const what = `${stage} text, ${phase === 'hash' ? 'checking' : 'tokenising'}`;
    const done = `${bytes(bytesDone)} of ${bytes(bytesTotal)}, ${short(tokens)} tokens`;
    progress.stage(what, bytesDone, bytesTotal, done, `data         ${what}, ${bytes(bytesTotal)}`);
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
    /** Rows of some steps have been written. */
    onRows: (done, steps) =>
      progress.stage(
        'writing rows',
        done,
        steps,
        `${done} of ${steps} steps`,
        `rows         of ${steps} steps`,
      ),
    note: (text) => progress.line(text),
    close: () => progress.close(),
  };
}

function peakOf(gflops: number | null): string {
  return gflops === null ? '' : `; peak ${flop(gflops * 1e9)}/s`;
}

/** Tokens of a source, and how much of its documents' length lies in long ones, before and after. */
function describeSource({ name, numTokens, realisedShare, passes, read, kept }: SourceStatistics): string {
  const again = passes > 1 ? `, read ${passes} times` : '';
  const long = ({ bounds, tokens }: LengthHistogram) => {
    const all = tokens.reduce((sum, count) => sum + count, 0);
    const below = tokens.reduce(
      (sum, count, bin) => sum + ((bounds[bin] ?? LONG + 1) <= LONG ? count : 0),
      0,
    );
    return percent(1 - below / Math.max(1, all));
  };
  return (
    `${name}: ${short(numTokens)} tokens, ${percent(realisedShare)}${again}; ` +
    `in documents of ${LONG} tokens and more ${long(read)} of what was read, ${long(kept)} of what was kept`
  );
}

/** A bound of the histograms, and the length that counts as long by default. */
const LONG = 4096;
