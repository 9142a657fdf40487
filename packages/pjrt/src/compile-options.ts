import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { PjrtError } from './errors.ts';

/** How a program is compiled. */
export interface CompileOptions {
  /** How many copies of the program run, each on its own data (default: 1). */
  readonly numReplicas?: number;
  /** Over how many devices XLA partitions the program (default: what the text declares, the size of its mesh, else 1). */
  readonly numPartitions?: number;
  /**
   * Ids of the devices that run it, numReplicas × numPartitions, replica by replica. By default the plugin chooses the
   * first.
   */
  readonly deviceIds?: readonly number[];
  /** XLA's flags by name, such as `xla_gpu_enable_latency_hiding_scheduler: true`. */
  readonly xlaFlags?: Readonly<Record<string, string | number | boolean>>;
}

// Field numbers of XLA's compile_options.proto and xla_data.proto.
const OPTIONS = { buildOptions: 3, flags: 7 } as const;
const BUILD = {
  numReplicas: 4,
  numPartitions: 5,
  useSpmdPartitioning: 6,
  deviceAssignment: 9,
  useShardyPartitioner: 19,
} as const;
const ASSIGNMENT = { numReplicas: 1, numComputations: 2, computations: 3 } as const;
const FLAG = { string: 1, boolean: 2, integer: 3, double: 4 } as const;

/** Encodes options as a CompileOptionsProto. The partitioner is that of the program's shardings, Shardy or GSPMD. */
export function encodeCompileOptions(options: CompileOptions, program: string | Uint8Array): Uint8Array {
  const { numReplicas = 1, numPartitions = declaredPartitions(program), deviceIds, xlaFlags = {} } = options;
  for (const [name, count] of Object.entries({ numReplicas, numPartitions })) {
    if (!Number.isInteger(count) || count < 1) {
      throw new PjrtError(
        'INVALID_ARGUMENT',
        `compile: ${name}: got ${count}, expected a whole number of at least 1`,
      );
    }
  }
  const build = new BinaryWriter();
  build.tag(BUILD.numReplicas, WireType.Varint).int64(numReplicas);
  build.tag(BUILD.numPartitions, WireType.Varint).int64(numPartitions);
  if (numPartitions > 1) build.tag(BUILD.useSpmdPartitioning, WireType.Varint).bool(true);
  if (deviceIds) {
    const assignment = encodeAssignment(deviceIds, numReplicas, numPartitions);
    build.tag(BUILD.deviceAssignment, WireType.LengthDelimited).bytes(assignment);
  }
  if (usesShardy(program)) build.tag(BUILD.useShardyPartitioner, WireType.Varint).bool(true);
  const writer = new BinaryWriter();
  writer.tag(OPTIONS.buildOptions, WireType.LengthDelimited).bytes(build.finish());
  for (const [name, value] of Object.entries(xlaFlags)) {
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
    entry.tag(2, WireType.LengthDelimited).bytes(encodeFlag(value));
    writer.tag(OPTIONS.flags, WireType.LengthDelimited).bytes(entry.finish());
  }
  return writer.finish();
}

/** StableHLO as bytes, from text or bytecode. */
export function encodeProgram(program: string | Uint8Array): Uint8Array {
  return typeof program === 'string' ? new TextEncoder().encode(program) : program;
}

/** The attribute of the module, which XLA itself does not read. */
function declaredPartitions(program: string | Uint8Array): number {
  const found = typeof program === 'string' && /\bmhlo\.num_partitions = (\d+)/.exec(program);
  return found ? Number(found[1]) : 1;
}

/** Bytecode names its dialects in plain text too. */
function usesShardy(program: string | Uint8Array): boolean {
  if (typeof program === 'string') return /\bsdy\./.test(program);
  return Buffer.from(program.buffer, program.byteOffset, program.byteLength).includes('\0sdy\0');
}

/** A DeviceAssignmentProto: for each partition, the device of each replica. */
function encodeAssignment(ids: readonly number[], numReplicas: number, numPartitions: number): Uint8Array {
  if (ids.length !== numReplicas * numPartitions) {
    throw new PjrtError(
      'INVALID_ARGUMENT',
      `compile: deviceIds: got ${ids.length}, expected ${numReplicas * numPartitions}, numReplicas × numPartitions`,
    );
  }
  const assignment = new BinaryWriter();
  assignment.tag(ASSIGNMENT.numReplicas, WireType.Varint).int32(numReplicas);
  assignment.tag(ASSIGNMENT.numComputations, WireType.Varint).int32(numPartitions);
  for (let partition = 0; partition < numPartitions; partition++) {
    const packed = new BinaryWriter();
    for (let replica = 0; replica < numReplicas; replica++) {
      packed.int64(ids[replica * numPartitions + partition]);
    }
    const devices = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(packed.finish());
    assignment.tag(ASSIGNMENT.computations, WireType.LengthDelimited).bytes(devices.finish());
  }
  return assignment.finish();
}

/** An OptionOverrideProto. */
function encodeFlag(value: string | number | boolean): Uint8Array {
  const writer = new BinaryWriter();
  if (typeof value === 'string') writer.tag(FLAG.string, WireType.LengthDelimited).string(value);
  else if (typeof value === 'boolean') writer.tag(FLAG.boolean, WireType.Varint).bool(value);
  else if (Number.isInteger(value)) writer.tag(FLAG.integer, WireType.Varint).int64(value);
  else writer.tag(FLAG.double, WireType.Bit64).double(value);
  return writer.finish();
}
