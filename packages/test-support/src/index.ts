export { expectClose, type Tolerance } from './closeness.ts';
export { FakeHub } from './fake-hub.ts';
export { checkGradients, checkVariableGradients } from './gradients.ts';
export { expectNoLeaks } from './leaks.ts';
export { mpirunFlags, type RunningRanks, startRanks } from './mpi.ts';
export { type RunningProcess, startProcess } from './process.ts';
export { setFlags } from './set-flags.ts';
export { TemporaryFolder } from './temporary-folder.ts';
export { compileQuickly } from './xla-flags.ts';
