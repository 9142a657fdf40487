import { MAX_ROWS, type ShownRow } from '@meap/recipe-cli';
import { inputKind, type SftBatch, type SftRow, TokenKind } from '@meap/sft-duplication';

/** Returns the first rows of a batch with the original tokens; the original of a masked token is the previous target. */
export function shownRows(batch: SftBatch): ShownRow[] {
  const { length } = batch;
  return Array.from({ length: Math.min(batch.numRows, MAX_ROWS) }, (_, index) => {
    const rowOf = <Values extends Int32Array | Uint8Array>(values: Values) =>
      values.subarray(index * length, (index + 1) * length) as Values;
    return shownRow({
      inputs: rowOf(batch.inputs),
      targets: rowOf(batch.targets),
      lossMask: rowOf(batch.lossMask),
      segmentIds: rowOf(batch.segmentIds),
      positions: rowOf(batch.positions),
      kinds: rowOf(batch.kinds),
    });
  });
}

function shownRow(row: SftRow): ShownRow {
  const { inputs, targets, segmentIds, kinds } = row;
  const padding = kinds.indexOf(TokenKind.padding);
  const shown: { ids: number[]; kinds: ShownRow['kinds'][number][]; parts: Map<number, string> } = {
    ids: [],
    kinds: [],
    parts: new Map(),
  };
  let wasCopy: boolean | undefined;
  for (let i = 0; i < (padding < 0 ? kinds.length : padding); i++) {
    const kind = inputKind(row, i);
    const isCopy = kind >= TokenKind.copyPrompt;
    const isMasked = kind === TokenKind.masked;
    if (isCopy !== wasCopy || segmentIds[i] !== segmentIds[i - 1]) {
      shown.parts.set(i, isCopy ? 'masked copy' : 'original');
    }
    wasCopy = isCopy;
    shown.ids.push(isMasked ? targets[i - 1] : inputs[i]);
    const isPrompt = kind === TokenKind.prompt || kind === TokenKind.copyPrompt;
    shown.kinds.push(isMasked ? 'masked' : isPrompt ? 'prompt' : 'plain');
  }
  return shown;
}
