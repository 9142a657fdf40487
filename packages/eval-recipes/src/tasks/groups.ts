/** Groups of built-in tasks, with totals over them. MMLU, MMLU-Pro and BLiMP are groups of their own. */
import { musrParts, type TaskGroup } from '@meap/evals';

/** A group before its data are loaded. */
export interface BuiltInGroup extends Omit<TaskGroup, 'name'> {
  readonly description: string;
  /** Names of its tasks. */
  readonly tasks: readonly string[];
}

/** Groups by name. */
export const GROUPS: ReadonlyMap<string, BuiltInGroup> = new Map([
  [
    'meap-paper',
    {
      description: 'the seven commonsense tasks of the MEAP paper (Tables 1, 5, 6, 13 to 15) and their means',
      version: 1,
      tasks: ['arc_challenge', 'arc_easy', 'boolq', 'hellaswag', 'openbookqa', 'piqa', 'winogrande'],
      metrics: ['acc', 'acc_norm'],
      // As the paper's averages.
      weightBySize: false,
    },
  ],
  [
    'leaderboard_musr',
    {
      description: 'the three parts of MuSR, as version 2 of the Open LLM Leaderboard asks them',
      version: 1,
      tasks: musrParts.map((part) => `leaderboard_musr_${part}`),
      metrics: ['acc_norm'],
      weightBySize: true,
    },
  ],
]);

/** Groups of lm-evaluation-harness that need its Python, by name: what to do instead. */
export const REFUSED_GROUPS: ReadonlyMap<string, string> = new Map([
  [
    'leaderboard',
    'a group that needs no Python: leaderboard_math_hard compares formulas with SymPy, leaderboard_ifeval has checks that no ' +
      'npm library has, leaderboard_gpqa shuffles choices with a generator without a seed of its own; of the others ' +
      'leaderboard_musr and leaderboard_mmlu_pro are built in, and leaderboard_bbh runs as the file ' +
      'leaderboard/bbh_mc/_leaderboard_bbh.yaml of the harness. The first version of the leaderboard is --config open-llm-leaderboard',
  ],
  [
    'tinyBenchmarks',
    'a group that needs no Python: its totals are estimates of item response models, which are in the Python package of that ' +
      'name only; evaluate the whole tasks, such as arc_challenge and mmlu',
  ],
]);
