/**
 * Porter's stemmer (1980) with the changes of NLTK, as in `rouge_score`.
 *
 * The stemmers on npm follow Porter's original rules; on the 79,901 words of LitBank, TinyStories, Shakespeare and
 * WikiText, 1,494 of their stems differ from NLTK's.
 */

type Rules = readonly (readonly [ending: string, replacement: string])[];

const rulesOf = (text: string): Rules =>
  text.split(' ').map((rule) => rule.split(':') as [ending: string, replacement: string]);

/** Words with an irregular stem. */
const irregular = new Map(
  rulesOf(
    'sky:sky skies:sky dying:die lying:lie tying:tie news:news innings:inning inning:inning outings:outing ' +
      'outing:outing cannings:canning canning:canning howe:howe proceed:proceed exceed:exceed succeed:succeed',
  ),
);

// The first ending that matches decides, even if its condition fails.
const STEP_2 = rulesOf(
  'ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous ization:ize ' +
    'ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble fulli:ful',
);
const STEP_3 = rulesOf('icate:ic ative: alize:al iciti:ic ical:ic ful: ness:');
const STEP_4 = 'al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize'.split(' ');

/** Stem of a word of lower-case letters and digits. */
export function stem(word: string): string {
  if (word.length <= 2) return word;
  const known = irregular.get(word);
  if (known !== undefined) return known;
  return tidy(cut(derive(derivational(softenY(pastAndPresent(plural(word)))), STEP_3)));
}

/** Step 1a. */
function plural(word: string): string {
  if (word.endsWith('ies')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('sses')) return word.slice(0, -2);
  return word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, -1) : word;
}

/** Step 1b. */
function pastAndPresent(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return measure(word.slice(0, -3)) > 0 ? word.slice(0, -1) : word;
  const ending = ['ed', 'ing'].find(
    (ending) => word.endsWith(ending) && shape(word.slice(0, -ending.length)).includes('v'),
  );
  if (ending === undefined) return word;
  const rest = word.slice(0, -ending.length);
  if (/(at|bl|iz)$/.test(rest)) return `${rest}e`;
  if (rest.at(-1) === rest.at(-2) && shape(rest).endsWith('c')) {
    return /[lsz]$/.test(rest) ? rest : rest.slice(0, -1);
  }
  return measure(rest) === 1 && endsShort(rest) ? `${rest}e` : rest;
}

/** Step 1c. */
function softenY(word: string): string {
  return /..y$/.test(word) && shape(word).at(-2) === 'c' ? `${word.slice(0, -1)}i` : word;
}

/** Step 2. */
function derivational(word: string): string {
  // So that "really" loses more than its "ly".
  if (word.endsWith('alli') && measure(word.slice(0, -4)) > 0) return derivational(word.slice(0, -2));
  if (word.endsWith('logi')) return measure(word.slice(0, -3)) > 0 ? word.slice(0, -1) : word;
  return derive(word, STEP_2);
}

function derive(word: string, rules: Rules): string {
  const rule = rules.find(([ending]) => word.endsWith(ending));
  if (rule === undefined) return word;
  const rest = word.slice(0, -rule[0].length);
  return measure(rest) > 0 ? rest + rule[1] : word;
}

/** Step 4. */
function cut(word: string): string {
  const ending = STEP_4.find((ending) => word.endsWith(ending));
  if (ending === undefined) return word;
  const rest = word.slice(0, -ending.length);
  return measure(rest) > 1 && (ending !== 'ion' || /[st]$/.test(rest)) ? rest : word;
}

/** Steps 5a and 5b. */
function tidy(word: string): string {
  let rest = word;
  if (word.endsWith('e')) {
    const before = word.slice(0, -1);
    const size = measure(before);
    if (size > 1 || (size === 1 && !endsShort(before))) rest = before;
  }
  return rest.endsWith('ll') && measure(rest.slice(0, -1)) > 1 ? rest.slice(0, -1) : rest;
}

/** Consonants as c, vowels as v: y is a vowel after a consonant; a digit is a consonant. */
function shape(word: string): string {
  let shape = '';
  for (const letter of word) {
    const isVowel = 'aeiou'.includes(letter) || (letter === 'y' && shape.endsWith('c'));
    shape += isVowel ? 'v' : 'c';
  }
  return shape;
}

/** m of the paper: how often a consonant follows a vowel. */
function measure(word: string): number {
  return shape(word).split('vc').length - 1;
}

/** *o of the paper, and two letters such as "us". */
function endsShort(word: string): boolean {
  const kinds = shape(word);
  return (kinds.endsWith('cvc') && !/[wxy]$/.test(word)) || kinds === 'vc';
}
