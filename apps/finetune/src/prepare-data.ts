/** Reads and encodes conversations, and splits them into training and validation samples. */
import { createHash } from 'node:crypto';
import { runSeeds } from '@meap/recipe-cli';
import {
  createDuplicator,
  type Duplicator,
  epochOrder,
  type SftOptions,
  type SftSample,
} from '@meap/sft-duplication';
import {
  type BadRecordError,
  type DataRecord,
  findFileProblems,
  readRecords,
  TemplateError,
} from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import {
  type Conversation,
  type DataFormat,
  FORMATS,
  recogniseFormat,
  refuseUnsupported,
  toConversation,
} from './formats.ts';
import type { ModelParts } from './model.ts';
import { type FieldNames, listOf, renameFields, valueAt } from './record-fields.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import { lastAnswerOnly, separateTurns } from './turns.ts';

/** Conversations with trained tokens, as text and as tokens. */
interface SampleSet {
  conversations: readonly Conversation[];
  samples: readonly SftSample[];
}

/** Counts of the records that were read. */
export interface DataFacts {
  /** Conversations by record format. */
  formats: Partial<Record<DataFormat, number>>;
  /** Dropped conversations: without an answer, or with a prompt that fills `train.max_length`. */
  dropped: { noAnswer: number; promptFillsWindow: number };
  /** Records skipped with `on_bad_record: skip`. */
  skipped: { count: number; first?: string };
  /** Further paths of files that were already read. */
  repeatedFiles: string[];
}

/** Samples of a run. */
export interface PreparedData extends DataFacts {
  train: SampleSet;
  validation: SampleSet;
  /** SHA-256 of all token ids and whether they are trained on. */
  fingerprint: string;
}

/** Options of {@link prepareData}. */
export interface PrepareOptions {
  /** Called with the number of conversations read so far. */
  onProgress?: (progress: { conversations: number }) => void;
  /** Its reason is thrown when it is aborted. */
  signal?: AbortSignal;
}

const ADVICE = 'fix it, or set data.on_bad_record to skip';

/** Conversations encoded in parallel between two progress updates. */
const CHUNK = 512;

/** The epoch whose order splits the data; no run reaches it. */
const SPLIT_EPOCH = 2 ** 32 - 1;

/**
 * Reads, encodes and splits the conversations of a run.
 *
 * @throws ChatDataError for unusable records, unless they are skipped, and for too few conversations; DatasetError for
 *   files
 */
export async function prepareData(
  config: FinetuneConfig,
  parts: ModelParts,
  options: PrepareOptions = {},
): Promise<PreparedData> {
  const { data } = config;
  const facts: DataFacts = {
    formats: {},
    dropped: { noAnswer: 0, promptFillsWindow: 0 },
    skipped: { count: 0 },
    repeatedFiles: [],
  };
  const missing = new Set(Object.values(data.fields));
  const read = (files: string[]) => readSamples(files, { config, parts, facts, missing, ...options });
  const all = await read(data.files);
  let train = all;
  let validation: SampleSet;
  if (data.validation_files) {
    validation = await read(data.validation_files);
  } else {
    const total = all.samples.length;
    const kept = Math.max(1, Math.round(total * data.validation_fraction!));
    if (total < 2) throw tooFew(total, facts, 'two: one for training, one for validation');
    const order = epochOrder({ count: total, seed: runSeeds(config).data, epoch: SPLIT_EPOCH });
    validation = pick(all, order.subarray(0, kept));
    train = pick(all, order.subarray(kept).sort());
  }
  // A name that some records lack is an optional field; a name that all lack is a mistake.
  if (missing.size > 0 && all.samples.length > 0) {
    throw new ChatDataError(
      `data.fields: no record has a field ${[...missing].join(' or ')}, expected names that the files have; correct or ` +
        'remove it',
    );
  }
  for (const set of [train, validation]) {
    if (set.samples.length === 0) throw tooFew(0, facts, 'at least one');
  }
  return { train, validation, fingerprint: fingerprintOf([train, validation]), ...facts };
}

/** Returns the problems of the first records of all files. */
export function findDataProblems({ data }: FinetuneConfig): Promise<string[]> {
  const skips = data.on_bad_record === 'skip';
  const read = async function* (files: string) {
    for await (const entry of readRecords({
      files,
      format: data.file_format,
      ...(skips && { onBadRecord: () => {} }),
    })) {
      try {
        yield conversationOf(entry, data);
      } catch (error) {
        if (!(error instanceof ChatDataError)) throw error;
        if (!skips) throw new ChatDataError(`${positionOf(entry)}: ${error.message}; ${ADVICE}`);
      }
    }
  };
  const files = [...data.files, ...(data.validation_files ?? [])];
  return findFileProblems(files, read, (error) => error instanceof ChatDataError);
}

interface Reading extends PrepareOptions {
  config: FinetuneConfig;
  parts: ModelParts;
  facts: DataFacts;
  /** Names in `data.fields` that no record had so far; emptied if not all records are read. */
  missing: Set<string>;
}

async function readSamples(files: string[], reading: Reading): Promise<SampleSet> {
  const { config, parts, facts, missing, onProgress, signal } = reading;
  const { data, masking } = config;
  const duplicator = duplicatorOf(config, parts, { ratio: 0 });
  const set = { conversations: [] as Conversation[], samples: [] as SftSample[] };
  const handle = (error: unknown, position: string) => {
    if (!(error instanceof ChatDataError || error instanceof TemplateError)) throw error;
    const message = `${position}: ${error.message}`;
    if (data.on_bad_record === 'error') throw new ChatDataError(`${message}; ${ADVICE}`);
    facts.skipped.count++;
    facts.skipped.first ??= message;
  };
  const onBadRecord = (error: BadRecordError) =>
    handle(new ChatDataError(error.reason), `${error.file}, entry ${error.position}`);
  const onRepeatedFile = (path: string) => facts.repeatedFiles.push(path);

  let pending: Pending[] = [];
  const flush = async () => {
    for (const { conversation, sample } of await encodeEach(pending, config, parts.encoder, handle)) {
      const { rows, statistics } = duplicator.duplicate(sample, { epoch: 0, index: 0 });
      facts.dropped.noAnswer += statistics.dropped.noAnswer;
      facts.dropped.promptFillsWindow += statistics.dropped.promptFillsWindow;
      if (rows.length === 0) continue;
      set.conversations.push(conversation);
      set.samples.push(sample);
    }
    pending = [];
    onProgress?.({ conversations: set.samples.length });
    // Yields to the event loop so that signals are handled.
    await new Promise(setImmediate);
    signal?.throwIfAborted();
  };

  let count = 0;
  for await (const entry of readRecords({ files, format: data.file_format, onRepeatedFile, onBadRecord })) {
    if (count >= (data.max_samples ?? Number.POSITIVE_INFINITY)) {
      missing.clear();
      break;
    }
    const position = positionOf(entry);
    try {
      for (const name of missing) if (hasField(entry.record, name)) missing.delete(name);
      const { conversation, format } = conversationOf(entry, data);
      facts.formats[format] = (facts.formats[format] ?? 0) + 1;
      count++;
      for (const part of partsOf(conversation, masking.turns)) pending.push({ conversation: part, position });
    } catch (error) {
      handle(error, position);
    }
    if (pending.length >= CHUNK) await flush();
  }
  await flush();
  return set;
}

function positionOf({ file, unit, position }: DataRecord): string {
  return `${file}, ${unit} ${position}`;
}

/** Returns whether a record or one of its messages has a field. */
function hasField(record: DataRecord['record'], name: string): boolean {
  if (valueAt(record, name) !== undefined) return true;
  return Object.values(record).some((value) =>
    listOf(value)?.some((entry) => typeof entry === 'object' && entry !== null && Object.hasOwn(entry, name)),
  );
}

function partsOf(conversation: Conversation, turns: FinetuneConfig['masking']['turns']): Conversation[] {
  if (turns === 'separate') return separateTurns(conversation);
  return [turns === 'last-answer' ? lastAnswerOnly(conversation) : conversation];
}

function conversationOf({ record }: DataRecord, data: FinetuneConfig['data']) {
  const names: FieldNames = { fields: data.fields, ignore: data.ignore_fields };
  const named = renameFields(record, names);
  const format = data.format === 'auto' ? recogniseFormat(named) : data.format;
  if (format) return { conversation: toConversation(record, format, names), format };
  // Records of preferences and images also lack the usual answer.
  refuseUnsupported(named);
  const absent = Object.entries(data.fields).filter(([, own]) => valueAt(record, own) === undefined);
  const hint =
    absent.length > 0
      ? `it lacks ${absent.map(([usual, own]) => `${own} (data.fields.${usual})`).join(', ')}`
      : 'text' in record
        ? 'set data.fields to its question and answer, or train on plain text with meap-pretrain'
        : 'set data.fields, such as {prompt: question, completion: reply}';
  throw new ChatDataError(
    `got the fields ${Object.keys(record).join(', ') || '(none)'}, expected those of ${FORMATS.join(', ')}; ${hint}`,
  );
}

interface Pending {
  conversation: Conversation;
  /** Where the file has it. */
  position: string;
}

/** Encodes a chunk; if it is refused, encodes its conversations one by one to find the refused ones. */
async function encodeEach(
  pending: readonly Pending[],
  { masking }: FinetuneConfig,
  encoder: ModelParts['encoder'],
  handle: (error: unknown, position: string) => void,
): Promise<{ conversation: Conversation; sample: SftSample }[]> {
  const conversations = pending.map(({ conversation }) => conversation);
  try {
    const samples = await encoder.encode(conversations, masking.loss_roles);
    return samples.map((sample, i) => ({ conversation: conversations[i], sample }));
  } catch (error) {
    if (!(error instanceof TemplateError || error instanceof ChatDataError)) throw error;
  }
  const encoded: { conversation: Conversation; sample: SftSample }[] = [];
  for (const { conversation, position } of pending) {
    try {
      const [sample] = await encoder.encode([conversation], masking.loss_roles);
      encoded.push({ conversation, sample });
    } catch (error) {
      handle(error, position);
    }
  }
  return encoded;
}

/** Creates the duplicator of a configuration. */
export function duplicatorOf(
  config: FinetuneConfig,
  { encoder, maskId }: Pick<ModelParts, 'encoder' | 'maskId'>,
  changes: Partial<SftOptions> = {},
): Duplicator {
  const { masking, train } = config;
  return createDuplicator({
    maskId,
    specialIds: [...encoder.specialIds, encoder.endOfAnswerId],
    // Turns are already separated.
    turns: 'with-history',
    maxLength: train.max_length,
    layout: masking.layout,
    loss: masking.loss,
    refresh: masking.refresh,
    ratio: masking.ratio,
    threshold: masking.threshold,
    thresholdUnit: masking.threshold_unit,
    lossRoles: masking.loss_roles,
    seed: runSeeds(config).mask,
    ...changes,
  });
}

function pick({ conversations, samples }: SampleSet, indices: Uint32Array | Int32Array): SampleSet {
  return {
    conversations: Array.from(indices, (i) => conversations[i]),
    samples: Array.from(indices, (i) => samples[i]),
  };
}

function tooFew(got: number, { dropped, skipped }: DataFacts, expected: string): ChatDataError {
  const { noAnswer, promptFillsWindow } = dropped;
  return new ChatDataError(
    `data: got ${got} usable conversations, expected ${expected}; dropped ${noAnswer} without an answer, ` +
      `${promptFillsWindow} with a prompt that fills train.max_length, ${skipped.count} unusable records`,
  );
}

function fingerprintOf(sets: readonly SampleSet[]): string {
  const hash = createHash('sha256');
  for (const { samples } of sets) {
    hash.update(`${samples.length}\n`);
    for (const { segments } of samples) {
      for (const { ids, trainable } of segments) {
        hash.update(`${trainable} ${ids.length} `);
        hash.update(new Uint8Array(Int32Array.from(ids).buffer));
      }
    }
  }
  return hash.digest('hex');
}
