#!/usr/bin/env node
import { requireNode } from '@meap/recipe-cli/require-node';

requireNode('meap-chat');
const { chatCommand } = await import('./chat-command.ts');
process.exitCode = await chatCommand(process.argv.slice(2));
