export { expectClose, type Tolerance } from './closeness.ts';
export { checkGradients } from './gradients.ts';
export { expectNoLeaks } from './leaks.ts';
export { mpirunFlags, type RunningRanks, startRanks } from './mpi.ts';
