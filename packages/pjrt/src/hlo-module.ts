import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { ElementType, TensorType } from './element-types.ts';

/** An instruction of a program as XLA has optimized it. */
export interface HloInstruction {
  readonly name: string;
  /** Such as `dot`, `all-reduce` or `custom-call`. */
  readonly opcode: string;
  /** The result as in HLO's text, such as `f32[2,3]`, or a tuple in parentheses. */
  readonly shape: string;
  /** Names of the instructions whose results it takes. */
  readonly operands: readonly string[];
  /** Names of the computations it calls, such as the body of a fusion. */
  readonly calls: readonly string[];
  /** The function of a custom call, such as `__cudnn$fmhaSoftmax`. */
  readonly customCallTarget: string;
  /** Of a collective: how many devices exchange data with each other, where the program says it. */
  readonly groupSize?: number;
  /** Of a loop: how often its body runs, where XLA knows it. */
  readonly tripCount?: number;
}

/** A list of instructions, in the order of execution where the program is scheduled. */
export interface HloComputation {
  readonly name: string;
  readonly instructions: readonly HloInstruction[];
}

/** An optimized program. */
export interface HloModule {
  readonly name: string;
  /** Types of the arguments on one device; undefined for those that this package does not transfer. */
  readonly inputs: readonly (TensorType | undefined)[];
  readonly outputs: readonly (TensorType | undefined)[];
  readonly computations: readonly HloComputation[];
  /** The name of the computation that runs first. */
  readonly entry: string;
  /** Writes the program in the manner of HLO's text, without layouts, attributes and metadata. */
  toString(): string;
}

// Field numbers of XLA's hlo.proto and xla_data.proto.
const MODULE_OF_CONFIG = 1;
const MODULE = { name: 1, entry: 2, computations: 3, programShape: 4 } as const;
const COMPUTATION = { name: 1, instructions: 2, id: 5 } as const;
const INSTRUCTION = {
  name: 1,
  opcode: 2,
  shape: 3,
  customCallTarget: 28,
  id: 35,
  operandIds: 36,
  calledIds: 38,
  backendConfig: 43,
  deviceGroups: 87,
  groupsByAxes: 93,
} as const;
const DEVICE_GROUPS = { groups: 1, iota: 2 } as const;
const GROUP_IDS = 1;
const IOTA_GROUP_SIZE = 2;
const GROUPS_BY_AXES = { mesh: 1, axes: 2 } as const;
const MESH_AXIS = 1;
const MESH_AXIS_SIZE = 2;
const AXIS_INDEX = 1;
const PROGRAM_SHAPE = { parameters: 1, result: 2 } as const;
const SHAPE = { type: 2, dimensions: 3, tuple: 4 } as const;

/** XLA's PrimitiveType by number: the name in HLO's text, and ours for those that can be transferred. */
const PRIMITIVES: Record<number, [text: string, type?: ElementType]> = {
  1: ['pred', 'bool'],
  2: ['s8', 'int8'],
  3: ['s16', 'int16'],
  4: ['s32', 'int32'],
  5: ['s64', 'int64'],
  6: ['u8', 'uint8'],
  7: ['u16', 'uint16'],
  8: ['u32', 'uint32'],
  9: ['u64', 'uint64'],
  10: ['f16', 'float16'],
  11: ['f32', 'float32'],
  12: ['f64', 'float64'],
  15: ['c64'],
  16: ['bf16', 'bfloat16'],
  17: ['token'],
  18: ['c128'],
  19: ['f8e5m2'],
  20: ['f8e4m3fn'],
};
const TUPLE = 13;

interface Shape {
  type: number;
  dimensions: number[];
  tuple: Shape[];
}

/** Calls `visit` for each field; it reads the value or returns false to skip it. */
function readFields(
  bytes: Uint8Array,
  visit: (field: number, reader: BinaryReader, wire: WireType) => unknown,
) {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (visit(field, reader, wire) === false) reader.skip(wire);
  }
}

/** Reads a repeated integer, packed or not. */
function readIntegers(into: number[], reader: BinaryReader, wire: WireType): void {
  if (wire !== WireType.LengthDelimited) {
    into.push(Number(reader.int64()));
    return;
  }
  const end = reader.uint32() + reader.pos;
  while (reader.pos < end) into.push(Number(reader.int64()));
}

function readShape(bytes: Uint8Array): Shape {
  const shape: Shape = { type: 0, dimensions: [], tuple: [] };
  readFields(bytes, (field, reader, wire) => {
    if (field === SHAPE.type) shape.type = reader.int32();
    else if (field === SHAPE.dimensions) readIntegers(shape.dimensions, reader, wire);
    else if (field === SHAPE.tuple) shape.tuple.push(readShape(reader.bytes()));
    else return false;
  });
  return shape;
}

function textOf({ type, dimensions, tuple }: Shape): string {
  if (type === TUPLE) return `(${tuple.map(textOf).join(', ')})`;
  return `${PRIMITIVES[type]?.[0] ?? `type${type}`}[${dimensions}]`;
}

function tensorTypeOf({ type, dimensions }: Shape): TensorType | undefined {
  const own = PRIMITIVES[type]?.[1];
  return own && { type: own, shape: dimensions };
}

/** An instruction that refers to others by number, since they may follow. */
interface RawInstruction extends Omit<HloInstruction, 'operands' | 'calls'> {
  id: number;
  operandIds: number[];
  calledIds: number[];
}

function readInstruction(bytes: Uint8Array): RawInstruction {
  const own = {
    name: '',
    opcode: '',
    shape: '',
    customCallTarget: '',
    id: 0,
    groupSize: undefined as number | undefined,
    tripCount: undefined as number | undefined,
  };
  const operandIds: number[] = [];
  const calledIds: number[] = [];
  readFields(bytes, (field, reader, wire) => {
    if (field === INSTRUCTION.name) own.name = reader.string();
    else if (field === INSTRUCTION.opcode) own.opcode = reader.string();
    else if (field === INSTRUCTION.shape) own.shape = textOf(readShape(reader.bytes()));
    else if (field === INSTRUCTION.customCallTarget) own.customCallTarget = reader.string();
    else if (field === INSTRUCTION.id) own.id = Number(reader.int64());
    else if (field === INSTRUCTION.operandIds) readIntegers(operandIds, reader, wire);
    else if (field === INSTRUCTION.calledIds) readIntegers(calledIds, reader, wire);
    else if (field === INSTRUCTION.backendConfig) own.tripCount = tripCountOf(reader.string());
    else if (field === INSTRUCTION.deviceGroups) own.groupSize = readGroupSize(reader.bytes());
    else if (field === INSTRUCTION.groupsByAxes) own.groupSize = readSizeOfAxes(reader.bytes());
    else return false;
  });
  return { ...own, operandIds, calledIds };
}

/** From a loop's notes, which are JSON. */
function tripCountOf(config: string): number | undefined {
  const found = /"known_trip_count":\{"n":"(\d+)"\}/.exec(config);
  return found ? Number(found[1]) : undefined;
}

/** Reads the size of a group from a CollectiveDeviceListProto. */
function readGroupSize(bytes: Uint8Array): number | undefined {
  let size: number | undefined;
  readFields(bytes, (field, reader) => {
    if (field === DEVICE_GROUPS.groups) {
      const ids: number[] = [];
      readFields(reader.bytes(), (inner, nested, wire) => {
        if (inner !== GROUP_IDS) return false;
        readIntegers(ids, nested, wire);
      });
      size = ids.length;
    } else if (field === DEVICE_GROUPS.iota) {
      readFields(reader.bytes(), (inner, nested) => {
        if (inner !== IOTA_GROUP_SIZE) return false;
        size = Number(nested.int64());
      });
    } else return false;
  });
  return size;
}

/** Reads the size of a group from a list of axes of a mesh. */
function readSizeOfAxes(bytes: Uint8Array): number {
  const sizes: number[] = [];
  const axes: number[] = [];
  readFields(bytes, (field, reader) => {
    if (field === GROUPS_BY_AXES.mesh) {
      readFields(reader.bytes(), (inner, mesh) => {
        if (inner !== MESH_AXIS) return false;
        readFields(mesh.bytes(), (own, axis) => {
          if (own !== MESH_AXIS_SIZE) return false;
          sizes.push(Number(axis.int64()));
        });
      });
    } else if (field === GROUPS_BY_AXES.axes) {
      let index = 0;
      readFields(reader.bytes(), (inner, axis) => {
        if (inner !== AXIS_INDEX) return false;
        index = Number(axis.int64());
      });
      axes.push(index);
    } else return false;
  });
  return axes.reduce((product, axis) => product * (sizes[axis] ?? 1), 1);
}

function readComputation(bytes: Uint8Array): { name: string; id: number; instructions: RawInstruction[] } {
  const own = { name: '', id: 0 };
  const instructions: RawInstruction[] = [];
  readFields(bytes, (field, reader) => {
    if (field === COMPUTATION.name) own.name = reader.string();
    else if (field === COMPUTATION.instructions) instructions.push(readInstruction(reader.bytes()));
    else if (field === COMPUTATION.id) own.id = Number(reader.int64());
    else return false;
  });
  return { ...own, instructions };
}

/** Reads an HloModuleProto, or an HloModuleProtoWithConfig. */
export function readHloModule(bytes: Uint8Array, format: 'hlo' | 'hlo_with_config'): HloModule {
  if (format === 'hlo_with_config') {
    let own: Uint8Array = new Uint8Array();
    readFields(bytes, (field, reader) => {
      if (field !== MODULE_OF_CONFIG) return false;
      own = reader.bytes();
    });
    return readHloModule(own, 'hlo');
  }
  let name = '';
  let entry = '';
  const encoded: Uint8Array[] = [];
  const inputs: Shape[] = [];
  let result: Shape = { type: TUPLE, dimensions: [], tuple: [] };
  readFields(bytes, (field, reader) => {
    if (field === MODULE.name) name = reader.string();
    else if (field === MODULE.entry) entry = reader.string();
    else if (field === MODULE.computations) encoded.push(reader.bytes());
    else if (field === MODULE.programShape) {
      readFields(reader.bytes(), (inner, nested) => {
        if (inner === PROGRAM_SHAPE.parameters) inputs.push(readShape(nested.bytes()));
        else if (inner === PROGRAM_SHAPE.result) result = readShape(nested.bytes());
        else return false;
      });
    } else return false;
  });
  const outputs = result.type === TUPLE ? result.tuple : [result];
  let computations: HloComputation[] | undefined;
  return {
    name,
    entry,
    inputs: inputs.map(tensorTypeOf),
    outputs: outputs.map(tensorTypeOf),
    // Read when they are used: every compilation reads the types.
    get computations() {
      computations ??= linkComputations(encoded.map(readComputation));
      return computations;
    },
    toString() {
      return writeHloText(name, entry, this.computations);
    },
  };
}

/** Replaces ids by names. Ids of instructions are unique in a computation. */
function linkComputations(raw: readonly ReturnType<typeof readComputation>[]): HloComputation[] {
  const computationNames = new Map(raw.map((one) => [one.id, one.name]));
  return raw.map(({ name, instructions }) => {
    const names = new Map(instructions.map((one) => [one.id, one.name]));
    return {
      name,
      instructions: instructions.map(({ operandIds, calledIds, id: _, ...rest }) => ({
        ...rest,
        operands: operandIds.map((id) => names.get(id) ?? `${id}`),
        calls: calledIds.map((id) => computationNames.get(id) ?? `${id}`),
      })),
    };
  });
}

function writeHloText(name: string, entry: string, computations: readonly HloComputation[]): string {
  const blocks = computations.map((computation) => {
    const lines = computation.instructions.map(
      ({ name, shape, opcode, operands, calls, customCallTarget }) =>
        `  ${name} = ${shape} ${opcode}(${operands.join(', ')})` +
        (customCallTarget && `, custom_call_target="${customCallTarget}"`) +
        (calls.length > 0 ? `, calls={${calls.join(', ')}}` : ''),
    );
    const start = computation.name === entry ? 'ENTRY ' : '';
    return `${start}${computation.name} {\n${lines.join('\n')}\n}\n`;
  });
  return [`HloModule ${name}\n`, ...blocks].join('\n');
}
