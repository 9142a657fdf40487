export { ExtensionError } from './error.ts';
export {
  EXTENSION_METHODS,
  type ExtensionMethod,
  type ExtensionOptions,
  extendContext,
  MEAP_ROPE_THETA,
} from './extend-context.ts';
export { type WavelengthChartOptions, wavelengthChart } from './wavelength-chart.ts';
