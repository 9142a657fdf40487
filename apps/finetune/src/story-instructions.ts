/**
 * Makes instruction data from TinyStories, like TinyStories-Instruct (Eldan and Li 2023): write a story with given words,
 * or continue one.
 *
 * A model of 260K parameters that was trained on these stories can learn this, but not Alpaca.
 */

/** A record in the format `alpaca`. */
export interface StoryInstruction {
  instruction: string;
  output: string;
}

const SEPARATOR = '<|endoftext|>';
const NUM_WORDS = 3;

/** Converts a file of stories into instructions, alternating the two kinds; deterministic. */
export function* storyInstructions(text: string): Generator<StoryInstruction> {
  const stories = text.split(SEPARATOR).map((story) => story.trim());
  const frequencies = countWords(stories);
  let count = 0;
  // The last story of a file may be truncated.
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

/** Returns the rarest words of a story that occur in more than five stories, which excludes misspellings. */
function rareWords(story: string, frequencies: ReadonlyMap<string, number>): string[] {
  const known = [...new Set(wordsOf(story))].filter((word) => frequencies.get(word)! > 5);
  return known.sort((a, b) => frequencies.get(a)! - frequencies.get(b)!).slice(0, NUM_WORDS);
}

/** Counts in how many stories each word occurs. */
function countWords(stories: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const story of stories) {
    for (const word of new Set(wordsOf(story))) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

/** Returns the lower-case words of a story, which excludes names. */
function wordsOf(story: string): string[] {
  return story.match(/(?<![\w’'])[a-z]{3,}(?![\w’'])/g) ?? [];
}
