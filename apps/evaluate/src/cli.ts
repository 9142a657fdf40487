#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-evaluate');
const { endProcess } = await import('@meap/recipe-cli');
const { evaluateCommand } = await import('./command.ts');
endProcess(await evaluateCommand(process.argv.slice(2)));
