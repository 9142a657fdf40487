#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-serve');
const { serveCommand } = await import('./serve-command.ts');
process.exitCode = await serveCommand(process.argv.slice(2));
