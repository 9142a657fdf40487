import {
  describeMemory,
  type OutputStream,
  type Progress,
  type ProgressOutput,
  percent,
  plainText,
  short,
  TrainingProgress,
} from '@meap/recipe-cli';
import type { FinetuneEvent } from './run.ts';
import type { RunFacts } from './run-facts.ts';

/** Creates a progress display. */
export function createProgress(output: ProgressOutput, stream: OutputStream): Progress<FinetuneEvent> {
  const progress = new TrainingProgress(output, stream, ({ valLoss, parts }) => {
    const masked = parts?.masked === undefined ? '' : `, of masked tokens ${parts.masked.toFixed(3)}`;
    return `held-out answers: loss ${valLoss.toFixed(3)}${masked}`;
  });
  return {
    onEvent(event) {
      switch (event.type) {
        case 'backend':
          progress.line(`backend      ${event.name} (${event.device}): ${event.reason}`);
          break;
        case 'data':
          progress.count('data', `${event.conversations.toLocaleString('en')} conversations read`);
          break;
        case 'ready':
          progress.totalSteps = event.steps;
          for (const line of describeFacts(event)) progress.line(line);
          break;
        default:
          progress.onTrainEvent(event);
      }
    },
    note: (text: string) => progress.line(text),
    close: () => progress.close(),
  };
}

/** Describes a run, one fact per line. */
export function describeFacts(facts: RunFacts): string[] {
  const { duplication, dropped, memory, template } = facts;
  const formats = Object.entries(facts.formats).map(([name, count]) => `${count} ${name}`);
  const omitted = [
    [dropped.noAnswer, 'without an answer'],
    [dropped.promptFillsWindow, 'with a prompt that fills the window'],
    [facts.skipped.count, 'that could not be used'],
  ] as const;
  const reasons = omitted.filter(([count]) => count > 0).map(([count, reason]) => `${count} ${reason}`);
  const masked =
    duplication.numCopies > 0
      ? `${duplication.numCopies} masked copies, ${duplication.numMasked} masks (${percent(duplication.numMasked / duplication.numCopiedAnswerTokens)} of their answers)`
      : 'no masked copies: next-token prediction';
  const share = facts.trained === facts.parameters ? 'all' : `${short(facts.trained)} of them (LoRA)`;
  return [
    `data         ${formats.join(', ')}: ${facts.trainConversations} conversations to train on, ${facts.validationConversations} held out`,
    ...(reasons.length > 0 ? [`left out     ${reasons.join(', ')}`] : []),
    `template     ${plainText(template.name)}; answers end with ${template.endOfAnswer}${template.addsEos ? ', added since the template lacks it' : ''}`,
    `an epoch     ${duplication.numRows} rows: ${masked}; ${duplication.numCut} cut to fit, ${percent(facts.padding)} padding`,
    `model        ${short(facts.parameters)} parameters, trained: ${share}`,
    `training     ${facts.steps} steps of about ${short(facts.tokensPerStep)} tokens, ${Number(facts.epochs.toFixed(2))} epochs`,
    `memory       ${describeMemory(memory)}`,
  ];
}
