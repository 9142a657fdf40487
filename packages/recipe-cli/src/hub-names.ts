/** Names of the Hugging Face Hub in recipes and on command lines: fetched, with progress, and replaced by paths. */
import { bytes, duration, plainText } from '@meap/dashboard';
import {
  cachedName,
  fetchFromHub,
  HubError,
  type HubEvent,
  hubAddress,
  isHubAddress,
  parseHubAddress,
  pinHubAddress,
} from '@meap/hub';
import { type CommandIo, isInteractive } from './command.ts';
import { ConfigurationError } from './errors.ts';
import { Bars } from './progress.ts';
import { isStreamed, pathsOf, type RecipeRules, readNamedRecipe } from './read-recipe.ts';

/** Seconds between two lines about a download without a terminal. */
const LINE_SECONDS = 10;

/** Options of {@link fetchHubNames}. */
export interface FetchNamesOptions {
  /** Called with the progress of downloads. */
  onEvent?: (event: HubEvent) => void;
  /** Ends the downloads. */
  signal?: AbortSignal;
  /** The recipe that a run was started with: its commits stay, also where the branch `main` has moved since. */
  earlier?: object;
}

/**
 * Fetches what a recipe names on the Hub, and returns overrides that replace the names by paths in the cache; names that
 * are fetched later by addresses with their commit.
 *
 * @throws ConfigurationError for a recipe that cannot be read, and with the key for a name that cannot be fetched
 */
export async function fetchHubNames(
  file: string,
  overrides: readonly string[],
  rules: RecipeRules,
  { earlier = {}, ...options }: FetchNamesOptions = {},
): Promise<string[]> {
  const commits = commitsIn(earlier, rules);
  const found: string[] = [];
  const recipe = readNamedRecipe(file, overrides, rules);
  for (const path of pathsOf(recipe, rules)) {
    const { key, values, isList } = path;
    if (!values.some(isHubAddress)) continue;
    const wanted = rules.hub?.[key] ?? 'files';
    const paths: string[] = [];
    for (const value of values) {
      if (!isHubAddress(value)) {
        paths.push(value);
        continue;
      }
      try {
        const name = parseHubAddress(value);
        const before = name.revision === 'main' ? commits.get(keyOf(name)) : undefined;
        const revision = before ?? name.revision;
        const address = hubAddress({ ...name, revision });
        if (isStreamed(path, recipe, rules)) {
          paths.push(await pinHubAddress(address, options));
          continue;
        }
        const { folder, files } = await fetchFromHub(address, {
          wanted,
          ...options,
        });
        paths.push(...(wanted === 'files' ? files : [folder]));
      } catch (error) {
        if (error instanceof HubError) throw new ConfigurationError([`${key}: ${error.message}`]);
        throw error;
      }
    }
    found.push(`${key}=${JSON.stringify(isList || paths.length > 1 ? paths : paths[0])}`);
  }
  return found;
}

/** Commits by repository of the paths in a recipe. */
function commitsIn(recipe: object, rules: RecipeRules): Map<string, string> {
  const values = pathsOf({ ...recipe }, rules).flatMap((path) => path.values);
  return new Map(
    values.flatMap((value) => {
      if (isHubAddress(value)) {
        const name = parseHubAddress(value);
        return [[keyOf(name), name.revision] as const];
      }
      const name = cachedName(value);
      return name ? [[keyOf(name), name.commit] as const] : [];
    }),
  );
}

const keyOf = ({ type, repo }: { type: string; repo: string }) => `${type} ${repo}`;

/** The display of downloads. */
export interface Downloads {
  /** Shows an event. */
  onEvent: (event: HubEvent) => void;
  /** Removes an unfinished bar. */
  close: () => void;
}

/** Shows downloads on stderr: a bar in a terminal, otherwise a line at the start, every ten seconds and at the end. */
export function showDownloads({ stderr }: CommandIo): Downloads {
  const bars = isInteractive(stderr) ? new Bars(stderr) : undefined;
  let current = '';
  let began = { at: 0, bytes: 0 };
  let lastLine = 0;
  const line = (text: string) => {
    bars?.stop();
    stderr.write(`${plainText(text)}\n`);
  };
  const onEvent = (event: HubEvent) => {
    const { name } = event;
    if (event.type === 'waiting') line(`download     ${name}: another process downloads it; waiting`);
    else if (event.type === 'unreachable') line(`warning      ${event.message}; the cache has ${name}`);
    else {
      const { bytes: done, totalBytes, files } = event;
      const now = performance.now();
      // The same repository may be fetched from twice.
      const download = `${name} ${files} ${totalBytes}`;
      if (download !== current) {
        current = download;
        began = { at: now, bytes: done };
        lastLine = now;
        line(`download     ${name}: ${files} ${files === 1 ? 'file' : 'files'}, ${bytes(totalBytes)}`);
      }
      const seconds = (now - began.at) / 1000;
      const rate = (done - began.bytes) / Math.max(seconds, 0.001);
      const left = rate > 0 ? `, about ${duration((totalBytes - done) / rate)} left` : '';
      const text = `${bytes(done)} of ${bytes(totalBytes)}, ${bytes(rate)}/s${done < totalBytes ? left : ''}`;
      bars?.update('download', done, totalBytes, text);
      if (bars || (now - lastLine < LINE_SECONDS * 1000 && done < totalBytes)) return;
      lastLine = now;
      line(`download     ${name}: ${text}`);
    }
  };
  return { onEvent, close: () => bars?.stop() };
}
