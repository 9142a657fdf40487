#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-study');
const { endProcess } = await import('@meap/recipe-cli');
const { studyCommand } = await import('./command.ts');
endProcess(await studyCommand(process.argv.slice(2)));
