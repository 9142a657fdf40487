/** What people see while a run goes on. */
import { bytes, flop, type Progress, type ProgressOutput, short, TrainingProgress } from '@meap/recipe-cli';
import type { PretrainEvent } from './run.ts';

/** A progress display on `output`. */
export function createProgress(output: ProgressOutput, stream: NodeJS.WriteStream): Progress<PretrainEvent> {
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
    note: (text) => progress.line(text),
    close: () => progress.close(),
  };
}

function peakOf(gflops: number | null): string {
  return gflops === null ? '' : `; peak ${flop(gflops * 1e9)}/s`;
}
