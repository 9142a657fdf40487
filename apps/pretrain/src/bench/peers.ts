import { type Benchmark, OURS, PYTORCH, runBenchmark } from './run-benchmark.ts';

/** Output of every peer's benchmark. */
interface StepResult {
  step_ms: number;
  gflops: number;
  peak_rss_mb: number;
  utilisation?: number | null;
}

/** The step to time; every peer's command line takes these options. */
export interface PeerStep {
  preset: string;
  seq: number;
  batch: number;
  steps: number;
  precision: string;
}

/** Medians of one peer over all rounds. */
export interface PeerRow {
  peer: string;
  gflops: number;
  tokens_per_second: number;
  of_the_peak: number | string;
  peak_rss_mb: number;
  /** Speed-up of `native` over this peer. */
  native_is_times: number;
}

const ROUNDS = 3;

/**
 * Times the same step in `native`, tfjs-wasm and PyTorch (eager and compiled, if `MEAP_PYTHON` or `python3` has it).
 * Interleaves the peers, since clock rates drift, and starts a new process for each measurement.
 */
export async function comparePeers({ preset, seq, batch, steps, precision }: PeerStep): Promise<PeerRow[]> {
  const shape = ['--preset', preset, '--seq', `${seq}`, '--batch', `${batch}`, '--precision', precision];
  const threads = process.env.MEAP_NUM_THREADS ? ['--threads', process.env.MEAP_NUM_THREADS] : [];
  const timed = ['--steps', `${steps}`];
  const peers: [name: string, benchmark: Benchmark, args: string[]][] = [
    ['native', OURS, [...shape, ...timed, '--backend', 'native', '--json']],
    ['PyTorch', PYTORCH, [...shape, ...timed, ...threads]],
    ['PyTorch, compiled', PYTORCH, [...shape, ...timed, ...threads, '--compile']],
    // Slow: timed once, and only for tiny.
    ['tfjs-wasm', OURS, [...shape, '--steps', '1', '--backend', 'wasm', '--json']],
  ];
  const results = new Map<string, StepResult[]>(peers.map(([name]) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, benchmark, args] of peers) {
      const isWasm = name === 'tfjs-wasm';
      if (isWasm && (round > 0 || preset !== 'tiny' || precision !== 'float32')) continue;
      // A peer that fails is not available here.
      const result = await runBenchmark<StepResult>(benchmark, args).catch(() => undefined);
      if (result) results.get(name)!.push(result);
    }
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const milliseconds = (name: string) => median(results.get(name)!.map(({ step_ms }) => step_ms));
  return [...results]
    .filter(([, found]) => found.length > 0)
    .map(([peer, found]) => ({
      peer,
      gflops: median(found.map(({ gflops }) => gflops)),
      tokens_per_second: Math.round((batch * seq * 1000) / milliseconds(peer)),
      of_the_peak: median(found.map(({ utilisation }) => utilisation ?? 0)) || '',
      peak_rss_mb: median(found.map(({ peak_rss_mb }) => peak_rss_mb)),
      native_is_times: Number((milliseconds(peer) / milliseconds('native')).toFixed(2)),
    }));
}
