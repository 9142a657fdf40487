#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-pretrain');
const { endProcess } = await import('@meap/recipe-cli');
const { pretrainCommand } = await import('./command.ts');
endProcess(await pretrainCommand(process.argv.slice(2)));
