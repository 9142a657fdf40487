import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { openPromise } from 'yauzl';
import { PluginError } from './errors.ts';
import {
  type FoundPlugin,
  installedPlugins,
  librariesIn,
  MANIFEST,
  pluginsDirectory,
} from './find-plugins.ts';
import { fetchFrom, pipIndexUrl, projectFiles } from './pip-index.ts';
import { selectWheel, thisMachine, type Wheel } from './wheels.ts';

/**
 * The projects of each plugin, the plugin's own first, and the version below which each must be: CUDA 13 works with
 * libraries of these versions.
 */
const PLUGINS: Record<string, [project: string, below?: string][]> = {
  cpu: [['xla-cpu-pjrt']],
  cuda13: [
    ['jax-cuda13-pjrt'],
    ['nvidia-cublas', '14'],
    ['nvidia-cuda-cupti', '14'],
    ['nvidia-cuda-nvcc', '14'],
    ['nvidia-cuda-nvrtc', '14'],
    ['nvidia-cuda-runtime', '14'],
    ['nvidia-cudnn-cu13', '10'],
    ['nvidia-cufft', '13'],
    ['nvidia-cusolver', '13'],
    ['nvidia-cusparse', '13'],
    ['nvidia-nccl-cu13', '3'],
    ['nvidia-nvjitlink', '14'],
    ['nvidia-nvshmem-cu13', '4'],
    ['nvidia-nvvm', '14'],
  ],
  rocm7: [['jax-rocm7-pjrt']],
  tpu: [['libtpu']],
};

/** The plugins that can be installed. */
export const INSTALLABLE = Object.keys(PLUGINS);

/** Reports the bytes of a wheel that have arrived. */
export type OnProgress = (wheel: Wheel, received: number) => void;

/**
 * Installs a plugin into the user's cache: fetches its wheels from the package index that pip would use, checks their
 * SHA-256, and unpacks them into a folder that appears whole. Nothing in them is run.
 *
 * @returns the plugin, also if it was installed before
 * @throws PluginError for an unknown name, if there is no wheel for this machine, and for a damaged download
 */
export async function installPlugin(name: string, onProgress: OnProgress = () => {}): Promise<FoundPlugin> {
  const projects = PLUGINS[name];
  if (!projects) {
    throw new PluginError(
      'INVALID_ARGUMENT',
      `install: got '${name}', expected one of ${INSTALLABLE.join(', ')}`,
    );
  }
  const index = pipIndexUrl();
  const machine = thisMachine();
  const wheels: Wheel[] = [];
  for (const [project, below] of projects) {
    const wheel = selectWheel(project, await projectFiles(index, project), machine, below);
    if (!wheel) {
      const system = `${machine.platform} on ${machine.arch}${machine.glibc ? ` with glibc ${machine.glibc}` : ''}`;
      throw new PluginError('NOT_FOUND', `install: ${project}: the index has no wheel for ${system}`);
    }
    wheels.push(wheel);
  }
  const { version } = wheels[0];
  const isThere = (one: FoundPlugin) => one.name === name && one.version === version;
  const before = installedPlugins().find(isThere);
  if (before) return before;
  const staging = join(pluginsDirectory(), `.${name}-${randomUUID()}`);
  await removeAbandoned();
  try {
    await mkdir(staging, { recursive: true });
    for (const wheel of wheels) await unpackWheel(wheel, staging, onProgress);
    const [library] = librariesIn(staging);
    if (!library) throw new PluginError('NOT_FOUND', `install: ${wheels[0].filename} contains no plugin`);
    const manifest = {
      name,
      version,
      library: relative(staging, library),
      wheels: wheels.map((one) => one.filename),
    };
    await writeFile(join(staging, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    await rename(staging, join(pluginsDirectory(), `${name}-${version}`)).catch((error) => {
      // Another process has installed it in the meantime.
      if (!['EEXIST', 'ENOTEMPTY'].includes(error.code)) throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return installedPlugins().find(isThere)!;
}

async function unpackWheel(wheel: Wheel, folder: string, onProgress: OnProgress): Promise<void> {
  const file = join(folder, wheel.filename);
  const response = await fetchFrom(wheel.url);
  const hash = createHash('sha256');
  let received = 0;
  onProgress(wheel, 0);
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      received += chunk.length;
      onProgress(wheel, received);
      done(null, chunk);
    },
  });
  try {
    const body = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
    await pipeline(body, meter, createWriteStream(file));
  } catch (cause) {
    const message = `install: ${wheel.filename}: the download broke off: ${(cause as Error).message}`;
    throw new PluginError('UNAVAILABLE', message, { cause });
  }
  const digest = hash.digest('hex');
  if (digest !== wheel.sha256) {
    throw new PluginError(
      'DATA_LOSS',
      `install: ${wheel.filename}: got SHA-256 ${digest}, expected ${wheel.sha256}`,
    );
  }
  await unzip(file, folder);
  await rm(file);
}

/** Unpacks an archive; yauzl refuses names that lead out of the folder. */
async function unzip(file: string, folder: string): Promise<void> {
  const archive = await openPromise(file);
  try {
    for await (const entry of archive.eachEntry()) {
      if (entry.fileName.endsWith('/')) continue;
      const target = join(folder, entry.fileName);
      await mkdir(dirname(target), { recursive: true });
      // The upper half has the permissions: programs such as ptxas must remain executable.
      const isExecutable = ((entry.externalFileAttributes >>> 16) & 0o111) !== 0;
      const stream = await archive.openReadStreamPromise(entry);
      await pipeline(stream, createWriteStream(target, { mode: isExecutable ? 0o755 : 0o644 }));
    }
  } finally {
    archive.close();
  }
}

/** Removes what killed installations have left a day ago. */
async function removeAbandoned(): Promise<void> {
  if (!existsSync(pluginsDirectory())) return;
  for (const name of await readdir(pluginsDirectory())) {
    const path = join(pluginsDirectory(), name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (name.startsWith('.') && Date.now() - mtimeMs > 24 * 3600 * 1000)
      await rm(path, { recursive: true, force: true });
  }
}
