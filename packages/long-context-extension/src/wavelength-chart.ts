import { blue, darkgray, green, plot } from 'asciichart';

/** What {@link wavelengthChart} draws. */
export interface WavelengthChartOptions {
  /** Radians a token of each rotary pair before the extension, `[D/2]`; `rotaryFrequencies` of `@meap/llama-model`. */
  before: ArrayLike<number>;
  /** The same after it. */
  after: ArrayLike<number>;
  /** Context of the training, in tokens. */
  trainedLength: number;
  /** Context after the extension. */
  contextLength: number;
  /** Lines of the chart, 16 by default. */
  height?: number;
  /** Columns of the chart, 64 by default. */
  width?: number;
  /** Colours for a terminal, true by default. */
  color?: boolean;
}

/**
 * The wavelengths 2π/f of all rotary pairs before and after an extension, on a logarithmic scale, for a terminal.
 *
 * A pair whose wavelength is longer than the training text never turned full circle there: in a longer text it comes to
 * angles that the model has not seen. An extension slows such pairs until they turn no further than they did before.
 */
export function wavelengthChart(options: WavelengthChartOptions): string {
  const { before, after, trainedLength, contextLength, height = 16, width = 64, color = true } = options;
  const stretch = (values: ArrayLike<number>) =>
    Array.from({ length: width }, (_, x) => {
      const at = (x * (values.length - 1)) / Math.max(1, width - 1);
      const [low, part] = [Math.floor(at), at - Math.floor(at)];
      const log = (i: number) => Math.log10((2 * Math.PI) / values[Math.min(i, values.length - 1)]);
      return log(low) * (1 - part) + log(low + 1) * part;
    });
  const level = (length: number) => Array<number>(width).fill(Math.log10(length));
  const chart = plot([level(trainedLength), level(contextLength), stretch(before), stretch(after)], {
    height: height - 1,
    colors: color ? [darkgray, darkgray, blue, green] : undefined,
    format: (log: number) =>
      Math.round(10 ** log)
        .toLocaleString('en')
        .padStart(12),
  });
  const unseen = (values: ArrayLike<number>, length: number) =>
    Array.from(values).filter((frequency) => (2 * Math.PI) / frequency > length).length;
  const legend = [
    `wavelength in tokens of ${before.length} rotary pairs, the fastest left; level lines: ` +
      `context ${trainedLength.toLocaleString('en')} and ${contextLength.toLocaleString('en')}`,
    `pairs that never turn full circle: ${unseen(before, trainedLength)} in training, ` +
      `${unseen(before, contextLength)} in the new context before, ${unseen(after, contextLength)} after`,
  ];
  return [...legend, chart].join('\n');
}
