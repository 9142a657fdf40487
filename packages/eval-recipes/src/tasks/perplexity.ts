import { perplexityTask, wikitextTask } from '@meap/evals';
import { named, texts } from './data-sets.ts';
import { readRows, readTexts } from './read-data.ts';
import { taskFamily } from './task-family.ts';

export const perplexity = taskFamily({
  data: {
    texts,
    wikitext: {
      what: 'WikiText-2 by pages, test split',
      source: 'EleutherAI/wikitext_document_level on the Hugging Face hub: wikitext-2-raw-v1, test split',
      patterns: [
        '**/wikitext_document_level/**/wikitext-2-raw-v1/*test*.parquet',
        ...named('wikitext*pages', 'wikitext_document_level'),
      ],
    },
  },
  tasks: {
    perplexity: {
      description: 'perplexity and bits per byte of texts',
      data: ['texts'],
      make: async ({ files }) => perplexityTask(await readTexts(files.texts)),
    },
    wikitext: {
      description: 'perplexity of WikiText per word and byte, as in lm-evaluation-harness',
      data: ['wikitext'],
      make: async ({ files, bos }) => wikitextTask(await readRows(files.wikitext), { bos }),
    },
  },
  title: (task) =>
    task === 'perplexity' ? 'Perplexity of texts' : task === 'wikitext' ? 'WikiText' : undefined,
});
