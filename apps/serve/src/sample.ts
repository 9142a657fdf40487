#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-sample');
const { sampleCommand } = await import('./sample-command.ts');
process.exitCode = await sampleCommand(process.argv.slice(2));
