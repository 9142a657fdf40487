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
  let clock: { task: string; began: number; items: number } | undefined;
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
          const { task, numItems, totalItems = numItems, numTokens, numStored } = event;
          // What the store answered says nothing about the pace.
          if (clock?.task !== task) clock = { task, began: performance.now(), items: numItems };
          const seconds = (performance.now() - clock.began) / 1000;
          const done = numItems - clock.items;
          const left = done > 0 ? `, ${duration((seconds / done) * (totalItems - numItems))} left` : '';
          const stored = numStored > 0 ? `, ${short(numStored)} answers kept from before` : '';
          const text = `${numItems} of ${totalItems} rows, ${short(numTokens)} tokens${stored}${left}`;
          bars.stage(task, numItems, totalItems, text, `${task.padEnd(12)} ${totalItems} rows`);
          break;
        }
      }
    },
    note: (text) => bars.line(text),
    close: () => bars.close(),
  };
}
