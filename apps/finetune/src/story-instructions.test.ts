import { describe, expect, it } from 'vitest';
import { storyInstructions } from './story-instructions.ts';

const story = (i: number) =>
  `One day, Lily saw a cat. The cat and the dog found a ball. ${i === 3 ? 'It was a needle.' : 'They were happy.'}`;
const stories = Array.from({ length: 8 }, (_, i) => story(i));
const text = `${stories.join('\n<|endoftext|>\n')}\n<|endoftext|>\n`;

describe('storyInstructions', () => {
  const records = [...storyInstructions(text)];

  it('alternates between words and the rest of a story', () => {
    expect(records).toHaveLength(8);
    expect(records[1]).toEqual({
      instruction: 'Continue this story: One day, Lily saw a cat.',
      output: 'The cat and the dog found a ball. They were happy.',
    });
    expect(records[0].output).toBe(stories[0]);
  });

  it('chooses rare words that other stories have too, and no names', () => {
    // `were` and `happy` occur in seven stories, `day` in all; `needle` in one.
    expect(records[0].instruction).toBe('Write a story with the words: were, happy, day.');
    for (const { instruction } of records) expect(instruction).not.toMatch(/Lily,|needle/);
  });

  it('skips a truncated story and empty files', () => {
    expect([...storyInstructions(text.slice(0, -20))]).toHaveLength(7);
    expect([...storyInstructions('')]).toEqual([]);
  });
});
