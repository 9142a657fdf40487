/** RULER's variable tracking: the variables that a chain of assignments sets to one value. */
import { fill } from './prompt.ts';
import { numpyIntegers, PythonRandom } from './python-random.ts';
import { type DrawOptions, fittedPrompts, type PromptSource, type RulerPrompt } from './ruler-fit.ts';

export const VARIABLE_TOKENS = 30;

const NUM_HOPS = 4;
/** Tokens of the solved example before the question. */
const EXAMPLE_LENGTH = 500;
const EXAMPLE_VALUE = '12345';
const CAPITALS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const NOISE = 'The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.';
const TEMPLATE =
  'Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\nQuestion: Find all variables that are assigned the value {query} in the text above. Answer: According to the chain(s) of variable assignment in the text above, {count} variables are assigned the value {query}, they are: ';

/**
 * Prompts of variable tracking: a solved example, with new names and value each time, then the question.
 *
 * Undefined if the example has more than its 500 tokens, as with a tokenizer of characters.
 */
export function variableSource({ seed, length, count }: DrawOptions): PromptSource | undefined {
  const random = new PythonRandom(seed);
  const value = numpyIntegers(seed, 10_000, 99_999);
  const upperBound = (length: number) => (tokensPerPiece: number) =>
    Math.trunc((length / tokensPerPiece) * 3);

  const draw = (size: number) => drawChain(random, size, 3, () => EXAMPLE_VALUE);
  const example = fittedPrompts(
    { draw, count, numFree: 0, step: 5, probe: 5, upperBound: upperBound(EXAMPLE_LENGTH) },
    EXAMPLE_LENGTH,
  ).next().value;
  if (example === undefined) return undefined;
  const solved = `${example.prompt} ${example.answers.join(' ')}\n`;
  const renamed = () => {
    let text = solved;
    for (const name of example.answers) text = text.replaceAll(name, random.letters(CAPITALS, name.length));
    return `${text.replaceAll(EXAMPLE_VALUE, String(value()))}\n`;
  };

  const step = length < 4096 ? 5 : 10;
  return {
    draw: (size) => drawChain(random, size, 5, () => String(value())),
    count,
    numFree: VARIABLE_TOKENS,
    step,
    probe: step,
    upperBound: upperBound(length),
    front: { numTokens: count(solved), draw: renamed },
  };
}

function drawChain(random: PythonRandom, size: number, numLetters: number, value: () => string): RulerPrompt {
  let names: string[];
  // RULER fails if two names are equal, about once in a million prompts; here they are drawn again.
  do names = Array.from({ length: NUM_HOPS + 1 }, () => random.letters(CAPITALS, numLetters));
  while (new Set(names).size < names.length);
  const query = value();
  const chain = names.map((name, hop) =>
    hop === 0 ? `VAR ${name} = ${query}` : `VAR ${name} = VAR ${names[hop - 1]} `,
  );
  const lines = Array.from({ length: size }, () => NOISE);
  const positions = random.sampleRange(size, chain.length).sort((a, b) => a - b);
  for (const [index, position] of positions.entries()) lines.splice(position + index, 0, chain[index]);
  const prompt = fill(TEMPLATE, { context: lines.join('\n'), query, count: String(NUM_HOPS + 1) });
  return { prompt, answers: names };
}
