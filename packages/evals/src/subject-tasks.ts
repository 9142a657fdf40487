/**
 * Tasks of many parts, each a task of its own, and their groups: MMLU and BLiMP, as in lm-evaluation-harness 0.4.13
 * (`lm_eval/tasks/mmlu`, `lm_eval/tasks/blimp`).
 */
import { lettered } from './choice-tasks.ts';
import type { MultipleChoice } from './multiple-choice.ts';
import { strip } from './python-text.ts';

/** Subjects of MMLU by category. */
export const mmluCategories = {
  stem: [
    'abstract_algebra',
    'anatomy',
    'astronomy',
    'college_biology',
    'college_chemistry',
    'college_computer_science',
    'college_mathematics',
    'college_physics',
    'computer_security',
    'conceptual_physics',
    'electrical_engineering',
    'elementary_mathematics',
    'high_school_biology',
    'high_school_chemistry',
    'high_school_computer_science',
    'high_school_mathematics',
    'high_school_physics',
    'high_school_statistics',
    'machine_learning',
  ],
  other: [
    'business_ethics',
    'clinical_knowledge',
    'college_medicine',
    'global_facts',
    'human_aging',
    'management',
    'marketing',
    'medical_genetics',
    'miscellaneous',
    'nutrition',
    'professional_accounting',
    'professional_medicine',
    'virology',
  ],
  social_sciences: [
    'econometrics',
    'high_school_geography',
    'high_school_government_and_politics',
    'high_school_macroeconomics',
    'high_school_microeconomics',
    'high_school_psychology',
    'human_sexuality',
    'professional_psychology',
    'public_relations',
    'security_studies',
    'sociology',
    'us_foreign_policy',
  ],
  humanities: [
    'formal_logic',
    'high_school_european_history',
    'high_school_us_history',
    'high_school_world_history',
    'international_law',
    'jurisprudence',
    'logical_fallacies',
    'moral_disputes',
    'moral_scenarios',
    'philosophy',
    'prehistory',
    'professional_law',
    'world_religions',
  ],
} as const;

/** A subject of MMLU. */
export type MmluSubject = (typeof mmluCategories)[keyof typeof mmluCategories][number];

const categoryOf = new Map<string, string>(
  Object.entries(mmluCategories).flatMap(([category, subjects]) =>
    subjects.map((subject) => [subject, category] as const),
  ),
);

/** The 57 subjects, by category. */
export const mmluSubjects = Object.values(mmluCategories).flat() as readonly MmluSubject[];

/** A subject of MMLU over rows `{question, choices, answer}`; examples are the first rows of its split `dev`. */
export function mmlu(subject: MmluSubject): MultipleChoice {
  const group = (name: string) => ({ name, version: 2, metrics: ['acc'], weightBySize: true });
  return {
    name: `mmlu_${subject}`,
    version: 1,
    metrics: ['acc'],
    memberOf: [group('mmlu'), group(`mmlu_${categoryOf.get(subject)}`)],
    description: `The following are multiple choice questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n`,
    prompt: '{question}\n{options}\nAnswer:',
    examples: { split: 'dev', sampler: 'first_n' },
    read: (row) => ({
      fields: {
        question: strip(row.text('question')),
        options: lettered(row.texts('choices').slice(0, 4)),
      },
      choices: [...'ABCD'],
      gold: row.integer('answer', 0, 3),
    }),
  };
}

/** The 67 paradigms of BLiMP. */
export const blimpParadigms = [
  'adjunct_island',
  'anaphor_gender_agreement',
  'anaphor_number_agreement',
  'animate_subject_passive',
  'animate_subject_trans',
  'causative',
  'complex_NP_island',
  'coordinate_structure_constraint_complex_left_branch',
  'coordinate_structure_constraint_object_extraction',
  'determiner_noun_agreement_1',
  'determiner_noun_agreement_2',
  'determiner_noun_agreement_irregular_1',
  'determiner_noun_agreement_irregular_2',
  'determiner_noun_agreement_with_adj_2',
  'determiner_noun_agreement_with_adj_irregular_1',
  'determiner_noun_agreement_with_adj_irregular_2',
  'determiner_noun_agreement_with_adjective_1',
  'distractor_agreement_relational_noun',
  'distractor_agreement_relative_clause',
  'drop_argument',
  'ellipsis_n_bar_1',
  'ellipsis_n_bar_2',
  'existential_there_object_raising',
  'existential_there_quantifiers_1',
  'existential_there_quantifiers_2',
  'existential_there_subject_raising',
  'expletive_it_object_raising',
  'inchoative',
  'intransitive',
  'irregular_past_participle_adjectives',
  'irregular_past_participle_verbs',
  'irregular_plural_subject_verb_agreement_1',
  'irregular_plural_subject_verb_agreement_2',
  'left_branch_island_echo_question',
  'left_branch_island_simple_question',
  'matrix_question_npi_licensor_present',
  'npi_present_1',
  'npi_present_2',
  'only_npi_licensor_present',
  'only_npi_scope',
  'passive_1',
  'passive_2',
  'principle_A_c_command',
  'principle_A_case_1',
  'principle_A_case_2',
  'principle_A_domain_1',
  'principle_A_domain_2',
  'principle_A_domain_3',
  'principle_A_reconstruction',
  'regular_plural_subject_verb_agreement_1',
  'regular_plural_subject_verb_agreement_2',
  'sentential_negation_npi_licensor_present',
  'sentential_negation_npi_scope',
  'sentential_subject_island',
  'superlative_quantifiers_1',
  'superlative_quantifiers_2',
  'tough_vs_raising_1',
  'tough_vs_raising_2',
  'transitive',
  'wh_island',
  'wh_questions_object_gap',
  'wh_questions_subject_gap',
  'wh_questions_subject_gap_long_distance',
  'wh_vs_that_no_gap',
  'wh_vs_that_no_gap_long_distance',
  'wh_vs_that_with_gap',
  'wh_vs_that_with_gap_long_distance',
] as const;

/** A paradigm of BLiMP: which of two sentences is grammatical. */
export function blimp(paradigm: (typeof blimpParadigms)[number]): MultipleChoice {
  return {
    name: `blimp_${paradigm}`,
    version: 1,
    metrics: ['acc'],
    memberOf: [{ name: 'blimp', version: 2, metrics: ['acc'], weightBySize: false }],
    prompt: '',
    read: (row) => ({
      fields: {},
      choices: [row.text('sentence_good'), row.text('sentence_bad')],
      gold: 0,
    }),
  };
}
