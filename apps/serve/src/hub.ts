#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-hub');
const { hubCommand } = await import('./hub-command.ts');
process.exitCode = await hubCommand(process.argv.slice(2));
