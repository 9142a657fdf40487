/** Makes XLA's CPU plugin compile several times faster, to slower code; for tests, before the backend `xla` starts. */
export function compileQuickly(): void {
  process.env.XLA_FLAGS ??= [
    '--xla_backend_optimization_level=0',
    '--xla_cpu_use_fusion_emitters=false',
    '--xla_cpu_parallel_codegen_split_count=1',
  ].join(' ');
}
