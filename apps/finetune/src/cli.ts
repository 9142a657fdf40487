#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-finetune');
const { endProcess } = await import('@meap/recipe-cli');
const { finetuneCommand } = await import('./command.ts');
endProcess(await finetuneCommand(process.argv.slice(2)));
