/**
 * What `--data hub` fetches: the repositories and splits of lm-evaluation-harness 0.4.13, where it has the task.
 *
 * Not here: LogiQA and Multi-News, whose repositories hold a Python script in place of files, without a known Parquet copy;
 * what is not on the Hub; and what the user chooses.
 */
import { longBenchNames, musrParts } from '@meap/evals';
import type { HubName } from '@meap/hub';

/** A split of a data set on the Hub. */
export interface HubData {
  /** Repository, `OWNER/NAME`. */
  readonly repo: string;
  /** Branch. */
  readonly revision: string;
  /** Name of the configuration, or subset; `*` for all. */
  readonly config: string;
  readonly split: string;
  /** Pattern of the files of this split in the repository. */
  readonly files: string;
}

/** A repository of Parquet files, with the names that `push_to_hub` of Python's `datasets` gives them. */
const parquet = (repo: string, split: string, config = 'default'): HubData => ({
  repo,
  revision: 'main',
  config,
  split,
  files: `${config === 'default' ? 'data' : config}/${split}-*.parquet`,
});

/** A repository of which the Hub makes Parquet files (https://huggingface.co/docs/dataset-viewer/parquet). */
const converted = (repo: string, split: string, config = 'default'): HubData => ({
  repo,
  revision: 'refs/convert/parquet',
  config,
  split,
  files: `${config}/${split}/*.parquet`,
});

const named = (repo: string, split: string, config: string, files: string): HubData => ({
  ...parquet(repo, split, config),
  files,
});

const NEEDLEBENCH = 'opencompass/NeedleBench';
const PUBMEDQA = ['bigbio/pubmed_qa', 'pubmed_qa_labeled_fold0_source'] as const;

/** What `--data hub` fetches, by the name of the data set. */
export const HUB_DATA: ReadonlyMap<string, HubData> = new Map(
  Object.entries({
    arc_easy: parquet('allenai/ai2_arc', 'test', 'ARC-Easy'),
    arc_easy_train: parquet('allenai/ai2_arc', 'train', 'ARC-Easy'),
    arc_challenge: parquet('allenai/ai2_arc', 'test', 'ARC-Challenge'),
    arc_challenge_train: parquet('allenai/ai2_arc', 'train', 'ARC-Challenge'),
    boolq: parquet('aps/super_glue', 'validation', 'boolq'),
    boolq_train: parquet('aps/super_glue', 'train', 'boolq'),
    hellaswag: converted('Rowan/hellaswag', 'validation'),
    hellaswag_train: converted('Rowan/hellaswag', 'train'),
    openbookqa: parquet('allenai/openbookqa', 'test', 'main'),
    openbookqa_train: parquet('allenai/openbookqa', 'train', 'main'),
    piqa: named('baber/piqa', 'validation', 'default', 'piqa_validation.parquet'),
    piqa_train: named('baber/piqa', 'train', 'default', 'piqa_train.parquet'),
    winogrande: parquet('allenai/winogrande', 'validation', 'winogrande_xl'),
    winogrande_train: parquet('allenai/winogrande', 'train', 'winogrande_xl'),
    social_iqa: parquet('lighteval/siqa', 'validation'),
    social_iqa_train: parquet('lighteval/siqa', 'train'),
    commonsense_qa: parquet('tau/commonsense_qa', 'validation'),
    commonsense_qa_train: parquet('tau/commonsense_qa', 'train'),
    // Row by row the Parquet conversion of the original: lm-evaluation-harness, pull request 3946.
    wsc273: parquet('lighteval/winograd_wsc', 'test', 'wsc273'),
    copa: converted('aps/super_glue', 'validation', 'copa'),
    copa_train: converted('aps/super_glue', 'train', 'copa'),
    sciq: parquet('allenai/sciq', 'test'),
    sciq_train: parquet('allenai/sciq', 'train'),
    swag: converted('allenai/swag', 'validation', 'regular'),
    swag_train: converted('allenai/swag', 'train', 'regular'),
    pubmedqa: converted(PUBMEDQA[0], 'test', PUBMEDQA[1]),
    pubmedqa_train: converted(PUBMEDQA[0], 'train', PUBMEDQA[1]),
    race: parquet('EleutherAI/race', 'test', 'high'),
    truthfulqa: parquet('truthfulqa/truthful_qa', 'validation', 'multiple_choice'),
    mmlu: parquet('cais/mmlu', 'test', 'all'),
    mmlu_dev: parquet('cais/mmlu', 'dev', 'all'),
    mmlu_pro: parquet('TIGER-Lab/MMLU-Pro', 'test'),
    mmlu_pro_validation: parquet('TIGER-Lab/MMLU-Pro', 'validation'),
    ...Object.fromEntries(
      musrParts.map((part) => [`leaderboard_musr_${part}`, converted('TAUR-Lab/MuSR', part)]),
    ),
    blimp: parquet('nyu-mll/blimp', 'train', '*'),
    gsm8k: parquet('openai/gsm8k', 'test', 'main'),
    gsm8k_train: parquet('openai/gsm8k', 'train', 'main'),
    svamp: converted('ChilleD/SVAMP', 'test'),
    triviaqa: parquet('mandarjoshi/trivia_qa', 'validation', 'rc.nocontext'),
    triviaqa_train: parquet('mandarjoshi/trivia_qa', 'train', 'rc.nocontext'),
    nq_open: parquet('google-research-datasets/nq_open', 'validation', 'nq_open'),
    nq_open_train: parquet('google-research-datasets/nq_open', 'train', 'nq_open'),
    lambada_openai: converted('EleutherAI/lambada_openai', 'test'),
    ...Object.fromEntries(
      ['de', 'en', 'es', 'fr', 'it'].map((language) => [
        `lambada_openai_mt_${language}`,
        converted('EleutherAI/lambada_openai', 'test', language),
      ]),
    ),
    lambada_standard: converted('cimec/lambada', 'test', 'plain_text'),
    lambada_standard_validation: converted('cimec/lambada', 'validation', 'plain_text'),
    wikitext: named(
      'EleutherAI/wikitext_document_level',
      'test',
      'wikitext-2-raw-v1',
      'wikitext-2-raw-v1/wikitext-2-raw-v1-test.parquet',
    ),
    m_rs: named(NEEDLEBENCH, 'test', 'multi_needle_reasoning_needle', 'multi_needle_reasoning_en.json'),
    ...Object.fromEntries(
      longBenchNames.map((name) => [`longbench_${name}`, converted('Xnhyacinth/LongBench', 'test', name)]),
    ),
    haystack: named(NEEDLEBENCH, 'test', 'en_haystack_texts', 'PaulGrahamEssays.jsonl'),
    xsum: converted('EdinburghNLP/xsum', 'test'),
    wikisum: parquet('d0rj/wikisum', 'test'),
  }),
);

/** The address of the files of a split. */
export function hubNameOf({ repo, revision, files }: HubData): HubName {
  return { type: 'dataset', repo, revision, path: files };
}
