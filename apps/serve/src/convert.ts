#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-convert');
const { convertCommand } = await import('./convert-command.ts');
process.exitCode = await convertCommand(process.argv.slice(2));
