#!/usr/bin/env node
/**
 * Makes instruction data of TinyStories, as TinyStories-Instruct does (Eldan and Li 2023): words that a story has to
 * use, and how it begins.
 *
 *     node apps/finetune/dist/story-instructions.js TinyStories.txt > stories.jsonl
 *
 * A model of 260 thousand parameters cannot follow Alpaca, but knows these stories: what it has to learn is the form
 * of the question and to work words in.
 */
import { readFileSync } from 'node:fs';

/** A record of the format `alpaca`. */
export interface StoryInstruction {
  instruction: string;
  output: string;
}

const SEPARATOR = '<|endoftext|>';
const NUM_WORDS = 3;

/** Turns a file of stories into instructions, two kinds in turn, the same each time. */
export function* storyInstructions(text: string): Generator<StoryInstruction> {
  const stories = text.split(SEPARATOR).map((story) => story.trim());
  const frequencies = countWords(stories);
  let count = 0;
  // The last one of a file may be cut off.
  for (const story of stories.slice(0, text.trimEnd().endsWith(SEPARATOR) ? undefined : -1)) {
    const words = rareWords(story, frequencies);
    const opening = /^.+?[.!?]["”]?(?=\s)/s.exec(story)?.[0];
    if (words.length < NUM_WORDS || !opening) continue;
    if (count++ % 2 === 0) {
      yield { instruction: `Write a story with the words: ${words.join(', ')}.`, output: story };
    } else {
      const rest = story.slice(opening.length).trim();
      yield { instruction: `Continue this story: ${opening}`, output: rest };
    }
  }
}

/** The words of a story that the fewest others have, but more than one: what a story is about, no misspellings. */
function rareWords(story: string, frequencies: ReadonlyMap<string, number>): string[] {
  const known = [...new Set(wordsOf(story))].filter((word) => frequencies.get(word)! > 5);
  return known.sort((a, b) => frequencies.get(a)! - frequencies.get(b)!).slice(0, NUM_WORDS);
}

/** In how many stories each word stands. */
function countWords(stories: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const story of stories) {
    for (const word of new Set(wordsOf(story))) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

/** Words in lower case; names, which are capitalised in the middle of a sentence, are left out. */
function wordsOf(story: string): string[] {
  return story.match(/(?<![\w’'])[a-z]{3,}(?![\w’'])/g) ?? [];
}

if (import.meta.filename === process.argv[1]) {
  for (const record of storyInstructions(readFileSync(process.argv[2], 'utf8'))) {
    process.stdout.write(`${JSON.stringify(record)}\n`);
  }
}
