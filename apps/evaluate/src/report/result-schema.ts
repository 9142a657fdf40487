/** Schemas of the result files that reports read. */
import type { TaskResult } from '@meap/evals';
import { z } from 'zod';
import type { FoldersComparison, ReportInput } from './report-input.ts';

const metricResult = z.object({
  value: z.number(),
  standardError: z.number().optional(),
  numItems: z.number(),
});
const groups = z.record(z.string(), z.union([z.string(), z.number()])).optional();

export const taskResultSchema: z.ZodType<TaskResult> = z.object({
  task: z.string(),
  version: z.number(),
  model: z.object({ name: z.string(), fingerprint: z.string(), contextLength: z.number() }),
  config: z.record(z.string(), z.unknown()),
  metrics: z.array(z.object({ name: z.string(), higherIsBetter: z.boolean(), aggregation: z.string() })),
  memberOf: z
    .array(
      z.object({
        name: z.string(),
        version: z.number(),
        metrics: z.array(z.string()),
        weightBySize: z.boolean(),
      }),
    )
    .optional(),
  numRows: z.number().optional(),
  results: z.record(z.string(), metricResult),
  groups: z.record(
    z.string(),
    z.array(
      z.object({
        value: z.union([z.string(), z.number()]),
        numSkipped: z.number(),
        results: z.record(z.string(), metricResult),
      }),
    ),
  ),
  skipped: z.array(z.object({ id: z.string(), groups, reason: z.string() })),
  samples: z.array(
    z.object({
      id: z.string(),
      groups,
      tokens: z.string().optional(),
      chance: z.number().optional(),
      shown: z.record(z.string(), z.unknown()),
      answers: z.array(z.never()),
      measured: z.record(z.string(), z.object({ value: z.number(), weight: z.number().optional() })),
    }),
  ),
});

const spread = z.object({
  values: z.array(z.number()),
  numItems: z.array(z.number()),
  mean: z.number(),
  standardDeviation: z.number(),
});

export const runsComparisonSchema: z.ZodType<FoldersComparison> = z.object({
  pairs: z.array(z.tuple([z.string(), z.string()])),
  smallestPValue: z.number(),
  metrics: z.array(
    z.object({
      task: z.string(),
      metric: z.string(),
      higherIsBetter: z.boolean(),
      a: spread,
      b: spread,
      difference: z.number(),
      interval: z.tuple([z.number(), z.number()]).optional(),
      pValue: z.number(),
      isExact: z.boolean(),
      adjusted: z.number(),
    }),
  ),
  notCompared: z.array(z.object({ task: z.string(), metric: z.string() })),
  leftOut: z.array(z.string()).optional(),
});

const tTest = z.object({
  difference: z.number(),
  statistic: z.number(),
  interval: z.tuple([z.number(), z.number()]),
  degreesOfFreedom: z.number(),
  pValue: z.number(),
});
const statistic = z.object({ values: z.array(z.number()), mean: z.number(), layers: z.array(z.number()) });
const difference = z.object({
  ntp: statistic,
  meap: statistic,
  change: z.number(),
  paired: tTest.optional(),
  welch: tTest.optional(),
});
const share = { share: z.number(), perToken: z.number() };

export const attentionSchema: z.ZodType<Required<Pick<ReportInput, 'contrasts' | 'shares'>>> = z.object({
  contrasts: z.array(
    z.object({
      ntp: z.string(),
      meap: z.string(),
      length: z.number().optional(),
      numSequences: z.number(),
      scoreDecay: difference,
      varianceIncrease: difference,
    }),
  ),
  shares: z.array(
    z.object({
      model: z.string(),
      queries: z.enum(['last', 'all']),
      prompts: z.array(
        z.object({
          segments: z.array(
            z.object({ name: z.string(), numTokens: z.number(), ...share, layers: z.array(z.number()) }),
          ),
          tokens: z.array(z.number()),
        }),
      ),
      segments: z.array(
        z.object({
          name: z.string(),
          numPrompts: z.number(),
          standardError: z.number().optional(),
          ...share,
        }),
      ),
      tokenTexts: z.array(z.array(z.string())).optional(),
    }),
  ),
});

export const environmentSchema = z.object({ model: z.string().optional() });
