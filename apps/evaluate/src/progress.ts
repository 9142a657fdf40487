import { duration, type ProgressOutput, plainText, short, TrainingProgress } from '@meap/recipe-cli';
import type { EvaluateEvent } from './run.ts';

/** Follows the events of an evaluation; `close` ends an unfinished bar. */
export interface Progress {
  onEvent(event: EvaluateEvent): void;
  note(text: string): void;
  close(): void;
}

/** Shows an evaluation to a person: a bar for each task where there is a terminal, a line where there is none. */
export function createProgress(output: ProgressOutput, stream: NodeJS.WriteStream): Progress {
  const bars = new TrainingProgress(output, stream, () => '');
  let task: Clock | undefined;
  return {
    onEvent(event) {
      switch (event.type) {
        case 'backend':
          bars.line(`backend      ${event.name} (${event.device}): ${event.reason}`);
          break;
        case 'model':
          bars.line(`model        ${plainText(event.name)}, context of ${event.contextLength} tokens`);
          break;
        case 'progress': {
          if (task?.last.task !== event.task) task = { began: performance.now(), first: event, last: event };
          task.last = event;
          const { numItems, totalItems = numItems } = event;
          const rows = `${numItems} of ${totalItems} rows`;
          const opening = `${event.task.padEnd(12)} ${totalItems} rows`;
          bars.stage(event.task, numItems, totalItems, `${rows}, ${work(event)}${timeLeft(task)}`, opening);
          break;
        }
        case 'result': {
          const { samples, task: name } = event.result;
          if (task?.last.task !== name) break;
          const seconds = (performance.now() - task.began) / 1000;
          bars.line(
            `${name.padEnd(12)} ${samples.length} rows asked, ${work(task.last)}, ${duration(seconds)}`,
          );
        }
      }
    },
    note: (text) => bars.line(text),
    close: () => bars.close(),
  };
}

type Step = EvaluateEvent & { type: 'progress' };

/** A task's first and last steps; what the store answered at once says nothing about its pace. */
interface Clock {
  began: number;
  first: Step;
  last: Step;
}

function work({ numTokens, numStored }: Step): string {
  const tokens = `${short(numTokens)} tokens`;
  return numStored > 0 ? `${tokens}, ${numStored} answers kept from before` : tokens;
}

function timeLeft({ began, first, last }: Clock): string {
  const done = last.numItems - first.numItems;
  if (done === 0 || last.totalItems === undefined) return '';
  const seconds = (performance.now() - began) / 1000;
  return `, ${duration((seconds / done) * (last.totalItems - last.numItems))} left`;
}
