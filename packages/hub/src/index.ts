/** Models and data of the Hugging Face Hub by name. */
export { cachedAddress, cachedName } from './cache.ts';
export { HubError } from './errors.ts';
export {
  type Fetched,
  type FetchOptions,
  fetchFromHub,
  type HubEvent,
  type Wanted,
} from './fetch-from-hub.ts';
export {
  fetchHubFile,
  type HubFile,
  type HubFileOptions,
  listHubFiles,
  pinHubAddress,
} from './hub-files.ts';
export {
  type HubName,
  hubAddress,
  isHubAddress,
  modelAddress,
  parseHubAddress,
  showName,
} from './hub-name.ts';
export { type HubSettings, hubSettings } from './hub-settings.ts';
export { modelFiles } from './model-files.ts';
export { type PushEvent, type PushedFile, type PushOptions, pushToHub } from './push-to-hub.ts';
