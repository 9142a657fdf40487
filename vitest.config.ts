import { existsSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const packages = [
  'tensor-kernels',
  'files',
  'hub',
  'safetensors',
  'llama-model',
  'long-context-extension',
  'meap-masking',
  'sft-duplication',
  'token-dataset',
  'evals',
  'eval-recipes',
  'inference',
  'recipe-cli',
  'reports',
  'trainer',
  'collectives',
  'pjrt',
  'dashboard',
  'test-support',
];

// Fast tests see the sources of all packages; MEAP_TEST_DIST=1 runs them, as the slow ones always do, with the sources of
// their own package and the built others.
const sources = process.env.MEAP_TEST_DIST
  ? {}
  : Object.fromEntries(
      packages.map((name) => [`@meap/${name}`, `${import.meta.dirname}/packages/${name}/src/index.ts`]),
    );

const data = process.env.MEAP_DATA ?? `${import.meta.dirname}/../shared/data`;
if (!existsSync(data)) {
  console.warn(`tests on real data are skipped: no folder ${data}; name one with MEAP_DATA`);
}

// WebGPU is tested on a processor that imitates a GPU; VK_DRIVER_FILES= (empty) takes the machine's own drivers.
const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json';
const vulkan = process.env.VK_DRIVER_FILES ?? (existsSync(swiftShader) ? swiftShader : undefined);

/** Slow files that choose backends, lose devices or replace modules: each has a process of its own. */
const ALONE = [
  'packages/{llama-model,pjrt,tensor-kernels,trainer}/src/**/*.slow.test.ts',
  'apps/pretrain/src/**/{distributed,float16,gpu,target-plan}.slow.test.ts',
];

/** Slow files first: at the end fast ones keep both workers busy. */
class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isSlow = ({ project }: TestSpecification) => project.name.startsWith('slow');
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))];
  }
}

export default defineConfig({
  resolve: { alias: { '#xla': `${import.meta.dirname}/packages/tensor-kernels/src/xla/register.ts` } },
  test: {
    // Test files run side by side: one kernel thread each. Tests of threads set their own number.
    env: { MEAP_DATA: data, MEAP_NUM_THREADS: '1', ...(vulkan !== undefined && { VK_DRIVER_FILES: vulkan }) },
    // One more than CI has cores: many slow tests wait for processes, timers and disks.
    maxWorkers: 3,
    sequence: { sequencer: SlowFirst },
    projects: [
      {
        extends: true,
        resolve: { alias: sources },
        test: {
          name: 'fast',
          include: ['{packages,apps}/*/src/**/*.test.ts', 'scripts/*.test.mjs'],
          exclude: ['**/*.slow.test.*'],
          // Files share imported modules, TensorFlow.js above all, so tests restore the global state that they change.
          isolate: false,
          // Holds them to milliseconds. Shared machines of CI are several times slower at any moment.
          testTimeout: process.env.CI ? 30_000 : 5000,
          hookTimeout: process.env.CI ? 30_000 : 5000,
        },
      },
      {
        extends: true,
        test: {
          name: 'slow',
          include: ['{packages,apps}/*/src/**/*.slow.test.ts', 'scripts/*.slow.test.mjs'],
          exclude: ALONE,
          isolate: false,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'slow-alone',
          include: ALONE,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
