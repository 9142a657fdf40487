#!/usr/bin/env node
// Before any import: dependencies use features that older versions of Node.js lack.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `meap-pjrt: this Node.js is too old, got ${process.versions.node}, expected 20.19 or later; ` +
      'install a newer one, such as the LTS of https://nodejs.org',
  );
  process.exit(1);
}
const { pjrtCommand } = await import('./command.ts');
process.exitCode = await pjrtCommand(process.argv.slice(2), process);
