import type { JudgeEvent } from '@meap/eval-recipes';
import {
  duration,
  type OutputStream,
  type ProgressOutput,
  plainText,
  short,
  TrainingProgress,
} from '@meap/recipe-cli';
import type { AttentionEvent, EvaluateEvent, StageEvent } from './events.ts';

/** The context of a model, for readers; empty where it is not known. */
export function contextText(contextLength: number): string {
  return contextLength === Number.MAX_SAFE_INTEGER ? '' : `, context of ${contextLength} tokens`;
}

/** Displays events; `close` ends an unfinished bar. */
export interface Progress {
  onEvent(event: EvaluateEvent | AttentionEvent | StageEvent): void;
  note(text: string): void;
  close(): void;
}

/** Creates a progress display: a bar per task in a terminal, otherwise a line. */
export function createProgress(output: ProgressOutput, stream: OutputStream): Progress {
  const bars = new TrainingProgress(output, stream, () => '');
  let task: Clock | undefined;
  let judged: JudgeEvent | undefined;
  return {
    onEvent(event) {
      switch (event.type) {
        case 'backend':
          bars.line(`backend      ${event.name} (${event.device}): ${event.reason}`);
          break;
        case 'model':
          bars.line(`model        ${plainText(event.name)}${contextText(event.contextLength)}`);
          break;
        case 'warning':
          bars.line(`warning      ${plainText(event.message)}`);
          break;
        case 'task':
          task = { began: performance.now() };
          break;
        case 'stage': {
          const { unit, done, total = done } = event;
          const stage = plainText(event.stage);
          const opening = `${stage.padEnd(12)} ${total} ${unit}`;
          bars.stage(stage, done, total, `${done} of ${total} ${unit}`, opening);
          break;
        }
        case 'progress': {
          task ??= { began: performance.now() };
          task.first ??= { at: performance.now(), items: event.numItems };
          task.last = event;
          const { numItems, totalItems = numItems } = event;
          const rows = `${numItems} of ${totalItems} rows`;
          const opening = `${event.task.padEnd(12)} ${totalItems} rows`;
          bars.stage(event.task, numItems, totalItems, `${rows}, ${work(event)}${timeLeft(task)}`, opening);
          break;
        }
        case 'judge':
          judged = event;
          bars.count('judge', judgements(event));
          break;
        case 'result': {
          const { samples, task: name } = event.result;
          if (!task?.last) break;
          const seconds = (performance.now() - task.began) / 1000;
          bars.line(
            `${name.padEnd(12)} ${samples.length} rows evaluated, ${work(task.last)}, ${duration(seconds)}`,
          );
          if (judged) bars.line(`${'judge'.padEnd(12)} ${judgements(judged)}`);
          judged = undefined;
        }
      }
    },
    note: (text) => bars.line(text),
    close: () => bars.close(),
  };
}

type Step = EvaluateEvent & { type: 'progress' };

/** Timing of a task; the first event is excluded from the speed, since its answers may be cached. */
interface Clock {
  began: number;
  first?: { at: number; items: number };
  last?: Step;
}

function work({ numTokens, numStored }: Step): string {
  const tokens = `${short(numTokens)} tokens`;
  return numStored > 0 ? `${tokens}, ${numStored} cached answers` : tokens;
}

function judgements({ numJudged, usage }: JudgeEvent): string {
  const { numRequests, numStored, promptTokens, completionTokens, numEstimated, cost } = usage;
  return [
    `${numJudged} judged`,
    `${numRequests} requests`,
    `${numEstimated > 0 ? 'about ' : ''}${short(promptTokens + completionTokens)} tokens`,
    ...(cost === undefined ? [] : [`cost ${cost.toFixed(4)}`]),
    ...(numStored > 0 ? [`${numStored} cached`] : []),
  ].join(', ');
}

function timeLeft({ first, last }: Clock): string {
  const done = last!.numItems - first!.items;
  if (done === 0 || last!.totalItems === undefined) return '';
  const seconds = (performance.now() - first!.at) / 1000;
  return `, ${duration((seconds / done) * (last!.totalItems - last!.numItems))} left`;
}
