/**
 * A needle without a word of its question, so that the model must know what they have to do with each other: the idea of
 * NoLiMa (Modarressi et al. 2025, arXiv 2502.05167), with sentences of our own.
 */
import { type Needle, type NeedleOptions, needleTask } from './needle.ts';
import type { Task } from './task.ts';

const needle = (sentence: string, question: string, answer: string): Needle => ({
  needle: `\n${sentence}\n`,
  question,
  answer,
});

/** Sentences about a person, and questions that name what is associated with them; the answer is the person. */
export const associationNeedles: readonly Needle[] = [
  needle('Oskar looks out on the Colosseum every morning.', 'Who lives in Rome?', 'Oskar'),
  needle('Priya sells postcards at the foot of the Eiffel Tower.', 'Who works in Paris?', 'Priya'),
  needle('Tomas winds the clock of Big Ben.', 'Who has a job in London?', 'Tomas'),
  needle('Leila grew up within sight of the pyramids of Giza.', 'Who comes from Egypt?', 'Leila'),
  needle('Kofi mends a stretch of the Great Wall.', 'Who works in China?', 'Kofi'),
  needle('Ines paints the Statue of Liberty from a ferry.', 'Who is often in New York?', 'Ines'),
  needle('Arjun guards the gate of the Taj Mahal.', 'Who has a job in India?', 'Arjun'),
  needle('Dmitri stood on the summit of Everest last May.', 'Who has been to Nepal?', 'Dmitri'),
  needle('Freya eats no meat, no cheese and no eggs.', 'Who is a vegan?', 'Freya'),
  needle('A single peanut sent Mateo to hospital.', 'Who has an allergy?', 'Mateo'),
  needle('Hanna fills cavities and pulls out molars all day.', 'Who is a dentist?', 'Hanna'),
  needle('Sanna carries her cello from one concert to the next.', 'Who is a musician?', 'Sanna'),
];

/**
 * `niah_association`: {@link needleTask} with {@link associationNeedles}. `rouge1_recall` is 1 if the answer names the
 * person.
 *
 * @throws EvalsError as {@link needleTask}
 */
export function associationTask(options: Omit<NeedleOptions, 'needles'>): Task {
  const task = needleTask({ ...options, needles: associationNeedles });
  const metrics = task.metrics.filter(({ name }) => name === 'rouge1_recall');
  return { ...task, name: 'niah_association', version: 1, metrics };
}
