#!/usr/bin/env node
/**
 * Times the operations on 25 MiB of float32: mpirun -n 2 node bench/operations.mjs [rounds 20]
 *
 * Prints the milliseconds and processor milliseconds of the slowest rank, and the data it sends per second.
 */
import { connect } from '@meap/collectives';

const rounds = Number(process.argv[2] ?? 20);
if (!(rounds >= 1)) throw new Error(`rounds: got ${process.argv[2]}, expected an integer from 1`);
const ranks = await connect();
const { rank, size } = ranks;
const values = new Float32Array(Math.floor((25 * 2 ** 20) / 4 / size) * size);
const own = new Float32Array(values.length / size);
const share = (size - 1) / size;
const operations = {
  allReduce: { call: () => ranks.allReduce(values), sent: 2 * share },
  reduceScatter: { call: () => ranks.reduceScatter(values, own), sent: share },
  allGather: { call: () => ranks.allGather(own, values), sent: share },
  broadcast: { call: () => ranks.broadcast(values), sent: 1 },
};
const round = (x) => Number(x.toFixed(1));
const rows = {};
for (const [name, { call, sent }] of Object.entries(operations)) {
  for (let i = 0; i < 3; i++) await call();
  await ranks.barrier();
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  for (let i = 0; i < rounds; i++) await call();
  const { user, system } = process.cpuUsage(cpu);
  const mine = Float64Array.of((performance.now() - start) / rounds, (user + system) / 1000 / rounds);
  const all = new Float64Array(2 * size);
  await ranks.allGather(mine, all);
  const worst = (at) => Math.max(...all.filter((_, i) => i % 2 === at));
  rows[name] = {
    ms: round(worst(0)),
    'processor ms': round(worst(1)),
    'GB/s': round((sent * values.byteLength) / worst(0) / 1e6),
  };
}
if (rank === 0) {
  console.log(`${size} ranks, ${ranks.library}`);
  console.table(rows);
}
await ranks.close();
