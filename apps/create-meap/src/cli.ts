#!/usr/bin/env node
import { createMeap } from './command.ts';

process.exitCode = createMeap(process.argv.slice(2));
