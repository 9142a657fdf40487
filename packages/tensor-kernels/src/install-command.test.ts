import { expect, it } from 'vitest';
import { installCommand } from './install-command.ts';

it.each([
  ['npm/11.4.2 node/v22.17.0 linux x64 workspaces/false', 'npm install a b'],
  ['pnpm/10.34.9 npm/? node/v20.20.0 linux x64', 'pnpm add a b'],
  ['yarn/4.9.2 npm/? node/v22.17.0 linux x64', 'yarn add a b'],
  ['bun/1.2.18 npm/? node/v24.3.0 linux x64', 'bun add a b'],
  ['deno/2.4.0 npm/? deno/2.4.0 linux x86_64', 'deno add npm:a npm:b'],
  ['constructor/1', 'npm install a b'],
  [undefined, 'npm install a b'],
])('run by %s, the command is %s', (npm_config_user_agent, command) => {
  expect(installCommand(['a', 'b'], { npm_config_user_agent })).toBe(command);
});
