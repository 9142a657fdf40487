import { blue, darkgray, green, plot } from 'asciichart';

/** Options of {@link wavelengthChart}. */
export interface WavelengthChartOptions {
  /** Radians per token of each rotary pair before the extension, `[D/2]`: `rotaryFrequencies` of `@meap/llama-model`. */
  before: ArrayLike<number>;
  /** The same after it. */
  after: ArrayLike<number>;
  /** Context length of the training in tokens. */
  trainedLength: number;
  /** Context length after the extension. */
  contextLength: number;
  /** Lines of the chart, 16 by default. */
  height?: number;
  /** Columns of the chart, 64 by default. */
  width?: number;
  /** Colours for a terminal, true by default. */
  color?: boolean;
}

/**
 * Draws the wavelengths 2π/f of all rotary pairs before and after an extension, on a logarithmic scale, for a terminal.
 *
 * A pair whose wavelength exceeds the context of the training made no full rotation there, so a longer text has angles that
 * the model has not seen. An extension slows these pairs down to the angles of the training.
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
    `wavelength in tokens of ${before.length} rotary pairs, the fastest left; horizontal lines: ` +
      `context ${trainedLength.toLocaleString('en')} and ${contextLength.toLocaleString('en')}`,
    `pairs without a full rotation: ${unseen(before, trainedLength)} in training, ` +
      `${unseen(before, contextLength)} in the new context before, ${unseen(after, contextLength)} after`,
  ];
  return [...legend, chart].join('\n');
}
