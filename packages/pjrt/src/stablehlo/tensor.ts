import { describeType, ELEMENT_TYPES, type ElementType, type TensorType } from '../element-types.ts';
import { PjrtError } from '../errors.ts';

/** Element types with a fraction. */
export type FloatType = 'float16' | 'bfloat16' | 'float32' | 'float64';
/** Whole numbers. */
export type IntegerType = Exclude<ElementType, FloatType | 'bool'>;

/** Returns whether elements have a fraction. */
export function isFloat(type: ElementType): type is FloatType {
  return ['float16', 'bfloat16', 'float32', 'float64'].includes(type);
}

/** A value of a program under construction. */
export class Tensor<T extends ElementType = ElementType> implements TensorType<T> {
  readonly type: T;
  readonly shape: readonly number[];
  /** Its name in the text. */
  readonly name: string;
  readonly #region: Region;

  /** @internal Ops make tensors. */
  constructor({ type, shape }: TensorType<T>, name: string, region: Region) {
    this.type = type;
    this.shape = shape;
    this.name = name;
    this.#region = region;
  }

  /** @internal Whether a region can use it: it belongs to this region or to one around it. */
  isVisibleFrom(region: Region): boolean {
    for (let one: Region | undefined = region; one; one = one.parent) {
      if (one === this.#region) return true;
    }
    return false;
  }
}

/** A block of a function: its own, or the body of an op such as `while`. */
export class Region {
  readonly lines: string[] = [];
  readonly parent: Region | undefined;
  /** Sizes of the mesh's axes by name. */
  readonly mesh: Readonly<Record<string, number>>;
  readonly #counter: { next: number };

  constructor(parent: Region | undefined, mesh: Readonly<Record<string, number>> = parent?.mesh ?? {}) {
    this.parent = parent;
    this.mesh = mesh;
    this.#counter = parent ? parent.#counter : { next: 0 };
  }

  /** Returns a name that the function has not used. */
  name(): string {
    return `%${this.#counter.next++}`;
  }
}

/** Building is synchronous, so that there is one region at a time. */
let current: Region | undefined;

/** Returns the region under construction. */
export function currentRegion(operation: string): Region {
  if (current) return current;
  throw new PjrtError('FAILED_PRECONDITION', `${operation}: called outside of buildModule`);
}

/** Calls `build` with a region as the current one. */
export function inRegion<T>(region: Region, build: () => T): T {
  const outer = current;
  current = region;
  try {
    return build();
  } finally {
    current = outer;
  }
}

/** Returns a type as MLIR writes it. */
export function typeText({ type, shape }: TensorType): string {
  return `tensor<${[...shape, ELEMENT_TYPES[type].stablehlo].join('x')}>`;
}

/** @throws PjrtError for bad arguments of an op */
export function fail(operation: string, message: string): never {
  throw new PjrtError('INVALID_ARGUMENT', `${operation}: ${message}`);
}

/** Returns the types of operands, for errors. */
export function describe(...operands: readonly TensorType[]): string {
  return operands.map(describeType).join(' and ');
}

/** @throws PjrtError for a shape that is none */
export function requireShape(operation: string, shape: readonly number[]): void {
  if (shape.every((length) => Number.isSafeInteger(length) && length >= 0)) return;
  fail(operation, `got the shape [${shape}], expected whole numbers`);
}

/** @throws PjrtError unless `dimensions` are different dimensions of a tensor of `rank` dimensions */
export function requireDimensions(operation: string, dimensions: readonly number[], rank: number): void {
  const isDimension = (one: number) => Number.isInteger(one) && one >= 0 && one < rank;
  if (dimensions.every(isDimension) && new Set(dimensions).size === dimensions.length) return;
  fail(operation, `got the dimensions [${dimensions}], expected different ones of 0 to ${rank - 1}`);
}

/** Writes `(tensor<…>, tensor<…>) -> tensor<…>`. */
export function signature(operands: readonly TensorType[], results: readonly TensorType[]): string {
  const types = results.map(typeText).join(', ');
  return `(${operands.map(typeText).join(', ')}) -> ${results.length === 1 ? types : `(${types})`}`;
}

/**
 * Adds an op with one result to the current region.
 *
 * @param text the op after `stablehlo.`, with its operands and attributes, up to and with its types
 */
export function emit<T extends ElementType>(
  operation: string,
  operands: readonly Tensor[],
  result: TensorType<T>,
  text: string,
): Tensor<T> {
  return emitAll(operation, operands, [result], text)[0] as Tensor<T>;
}

/** Adds an op with any number of results to the current region. */
export function emitAll(
  operation: string,
  operands: readonly Tensor[],
  results: readonly TensorType[],
  text: string,
): Tensor[] {
  const region = currentRegion(operation);
  for (const operand of operands) {
    if (!operand.isVisibleFrom(region)) {
      fail(operation, `${operand.name} belongs to another function, or to the body of an op that has ended`);
    }
  }
  const name = region.name();
  const isOne = results.length === 1;
  region.lines.push(`${name}${isOne ? '' : `:${results.length}`} = ${text}`);
  return results.map((type, i) => new Tensor(type, isOne ? name : `${name}#${i}`, region));
}

/** Writes a list of numbers as MLIR does. */
export function list(numbers: readonly number[]): string {
  return `[${numbers.join(', ')}]`;
}
