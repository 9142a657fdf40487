#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-handoff');
const { handoffCommand } = await import('./command.ts');
process.exitCode = await handoffCommand(process.argv.slice(2));
