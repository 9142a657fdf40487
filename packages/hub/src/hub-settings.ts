import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the Hub and the cache are, by the environment variables of Python's `huggingface_hub`. */
export interface HubSettings {
  /** `HF_ENDPOINT`; default https://huggingface.co. */
  endpoint: string;
  /** `HF_TOKEN`, or the token that `hf auth login` stored. */
  token?: string;
  /** `HF_HUB_OFFLINE=1`: nothing is fetched. */
  isOffline: boolean;
  /** `HF_HUB_CACHE`; default `hub` in `HF_HOME`, whose default is ~/.cache/huggingface. */
  cache: string;
  /** Milliseconds before a failed request is repeated the first time; doubled each time. */
  retryMs: number;
}

/** Reads the settings. */
export function hubSettings(env: Readonly<Record<string, string | undefined>> = process.env): HubSettings {
  const caches = env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const home = env.HF_HOME || join(caches, 'huggingface');
  return {
    endpoint: (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
    token: (
      env.HF_TOKEN ||
      env.HUGGING_FACE_HUB_TOKEN ||
      storedToken(env.HF_TOKEN_PATH || join(home, 'token'))
    )?.trim(),
    isOffline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ''),
    cache: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub'),
    retryMs: 1000,
  };
}

function storedToken(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
