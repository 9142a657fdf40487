/** A chat model as a judge of contextual hallucination (Table 4 and appendix A.5 of the MEAP paper). */
import { means } from './aggregation.ts';
import type { AnswerStore } from './answers.ts';
import { Endpoint, type EndpointOptions, readChatReply } from './endpoint.ts';
import type { Judge, JudgeCase } from './judge.ts';
import type { ChatMessage } from './language-model.ts';

/** Prices of a million tokens, in any currency. */
export interface TokenPrices {
  readonly prompt: number;
  readonly completion: number;
}

/** Options of {@link chatJudge}. */
export interface ChatJudgeOptions extends EndpointOptions {
  /** The model's name at the endpoint. */
  readonly model: string;
  /** Members of a request's body besides model and messages; default `{ temperature: 0, max_tokens: 512 }`. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /**
   * What the output is compared with: the human summary (the default, as in the paper), or the article, which costs more
   * tokens and accepts statements that are only in the article.
   */
  readonly against?: 'reference' | 'article';
  /** Stores replies with a score. */
  readonly store?: AnswerStore;
  /** Prices for `cost`. */
  readonly prices?: TokenPrices;
}

/** Usage of a judge. */
export interface JudgeUsage {
  /** Requests sent, including retries. */
  readonly numRequests: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Answers without a token count, estimated at four characters a token. */
  readonly numEstimated: number;
  /** Judgements from the store. */
  readonly numStored: number;
  /** In the currency of the prices; absent without prices. */
  readonly cost?: number;
}

/** The result of {@link ChatJudge.plan}. */
export interface JudgePlan {
  /** Address of the requests. */
  readonly address: string;
  /** Bodies of the requests, in order. */
  readonly requests: readonly Readonly<Record<string, unknown>>[];
  /** Usage with estimated prompt tokens and the maximum of completion tokens. */
  readonly usage: JudgeUsage;
}

/** A {@link Judge} that is a chat model. */
export interface ChatJudge extends Judge {
  /** Usage so far. */
  usage(): JudgeUsage;
  /** Plans the requests of judging without sending them. */
  plan(cases: Iterable<JudgeCase>): Promise<JudgePlan>;
}

const PATH = 'chat/completions';

/** Requests for a score after a reply without one. */
const SCORE_RETRIES = 2;

/**
 * A judge at an OpenAI-compatible endpoint, which explains its decision and ends with `Score: 0` or `Score: 1`.
 *
 * Metrics: `hallucination_free`, the share of ones; `unparsed`, the share of replies without a score after three
 * attempts, which do not count otherwise. The paper's prompt is not published as text; this one gives the same
 * instructions.
 *
 * @throws EndpointError (from `judge`) if the endpoint refuses or does not answer; all later calls then fail too
 */
export function chatJudge(options: ChatJudgeOptions): ChatJudge {
  const { against = 'reference', store, prices, model } = options;
  const { parameters = { temperature: 0, max_tokens: 512 } } = options;
  const endpoint = new Endpoint(options, 'judge');
  const address = `${endpoint.address}/${PATH}`;
  const counted = { promptTokens: 0, completionTokens: 0, numEstimated: 0 };
  let numStored = 0;
  const bodyOf = (messages: readonly ChatMessage[]) => ({ model, messages, ...parameters });
  const keyOf = (messages: readonly ChatMessage[]) => JSON.stringify(['judge', address, bodyOf(messages)]);
  const withCost = (usage: Omit<JudgeUsage, 'cost'>): JudgeUsage => {
    const { promptTokens, completionTokens } = usage;
    const cost = prices && (promptTokens * prices.prompt + completionTokens * prices.completion) / 1e6;
    return { ...usage, ...(cost === undefined ? {} : { cost }) };
  };

  async function complete(messages: readonly ChatMessage[]): Promise<string> {
    const { content, promptTokens, completionTokens } = await endpoint.send({
      path: PATH,
      body: bodyOf(messages),
      expected: 'choices[0].message',
      read: readChatReply,
    });
    if (promptTokens === undefined || completionTokens === undefined) counted.numEstimated++;
    counted.promptTokens += promptTokens ?? estimateTokens(messages);
    counted.completionTokens += completionTokens ?? estimateTokens([{ content }]);
    return content;
  }

  /** Returns a reply with a score, or the last one without. */
  async function ask(messages: readonly ChatMessage[]): Promise<string> {
    const conversation = [...messages];
    for (let attempt = 0; ; attempt++) {
      const reply = await complete(conversation);
      if (parseScore(reply) !== undefined || attempt === SCORE_RETRIES) return reply;
      conversation.push({ role: 'assistant', content: reply }, { role: 'user', content: REMINDER });
    }
  }

  return {
    name: model,
    config: { judge: model, against, promptVersion: 1 },
    metrics: [...means(['hallucination_free']), ...means(['unparsed'], false)],
    async judge(judgeCase) {
      const messages = judgeMessages(judgeCase, against);
      const key = keyOf(messages);
      const [stored] = (await store?.get([key])) ?? [];
      const isStored = stored !== undefined && 'text' in stored;
      const reply = isStored ? stored.text : await ask(messages);
      const score = parseScore(reply);
      if (isStored) numStored++;
      else if (score !== undefined)
        await store?.put([{ key, answer: { text: reply, ids: [], finish: 'stop' } }]);
      return {
        measured: {
          ...(score === undefined ? {} : { hallucination_free: { value: score } }),
          unparsed: { value: score === undefined ? 1 : 0 },
        },
        explanation: reply,
      };
    },
    usage: () => withCost({ ...counted, numRequests: endpoint.numRequests, numStored }),
    async plan(cases) {
      const usage = { numRequests: 0, promptTokens: 0, completionTokens: 0, numEstimated: 0 };
      const requests: Record<string, unknown>[] = [];
      let numStored = 0;
      for (const judgeCase of cases) {
        const messages = judgeMessages(judgeCase, against);
        const [stored] = (await store?.get([keyOf(messages)])) ?? [];
        if (stored !== undefined) {
          numStored++;
          continue;
        }
        const body: Record<string, unknown> = bodyOf(messages);
        requests.push(body);
        usage.numRequests++;
        usage.numEstimated++;
        usage.promptTokens += estimateTokens(messages);
        usage.completionTokens += Number(body.max_tokens ?? body.max_completion_tokens ?? 0);
      }
      return { address, requests, usage: withCost({ ...usage, numStored }) };
    },
  };
}

/** Estimated tokens of texts: four characters each. */
function estimateTokens(messages: readonly Pick<ChatMessage, 'content'>[]): number {
  return messages.reduce((sum, { content }) => sum + Math.ceil(content.length / 4), 0);
}

const REMINDER = 'Your answer has no score. Reply with one line, either "Score: 0" or "Score: 1".';

function judgeMessages(
  { output, article, reference }: JudgeCase,
  against: 'reference' | 'article',
): ChatMessage[] {
  const source = against === 'article' ? article : reference;
  const content = [
    'Decide whether a model output contains contextual hallucination: statements that the reference contradicts or ' +
      'that cannot be drawn from it. What the output leaves out, its length and its style do not count.',
    `<reference>\n${source}\n</reference>`,
    `<output>\n${output}\n</output>`,
    'Explain your decision in one or two sentences. Then end with one line that is either "Score: 1" where the ' +
      'output is free of contextual hallucination, or "Score: 0" where it is not.',
  ].join('\n\n');
  return [{ role: 'user', content }];
}

/**
 * The score in a judge's reply: a single 0 or 1 after `Score:`; undefined if there is none or they differ.
 *
 * `<think>` blocks and formatting such as `**Score:** 1` are ignored; `Score: 0|1`, `0.5` and `1/5` are not scores.
 */
export function parseScore(reply: string): 0 | 1 | undefined {
  const spoken = reply.replace(/<think>[\s\S]*?<\/think>/g, '');
  const found = new Set<string | undefined>();
  for (const [, rest] of spoken.matchAll(/\bscore\b[*_"'`\s]*[:：=](.*)/gi)) {
    found.add(/^[\s*_"'`[(]*([01])(?!\d|[.,]\d|\s*[|/%]|\s+(?:or|out|to)\b)/.exec(rest)?.[1]);
  }
  const [only] = found;
  return found.size === 1 && only !== undefined ? (Number(only) as 0 | 1) : undefined;
}
