import {
  ELEMENT_TYPES,
  type ElementType,
  type HostArray,
  sizeOf,
  type TensorType,
} from '../element-types.ts';
import {
  currentRegion,
  describe,
  emit,
  type FloatType,
  fail,
  type IntegerType,
  isFloat,
  requireDimensions,
  requireShape,
  signature,
  type Tensor,
  typeText,
} from './tensor.ts';

type Kind = 'float' | 'integer' | 'bool';
const kindOf = (type: ElementType): Kind => (type === 'bool' ? 'bool' : isFloat(type) ? 'float' : 'integer');

function requireKind(operation: string, x: Tensor, kinds: readonly Kind[]): void {
  if (kinds.includes(kindOf(x.type))) return;
  fail(operation, `got ${describe(x)}, expected elements of type ${kinds.join(' or ')}`);
}

function requireEqual(operation: string, a: Tensor, b: Tensor): void {
  if (typeText(a) === typeText(b)) return;
  fail(operation, `got ${describe(a, b)}, expected equal types and shapes; convert or broadcast one first`);
}

function unary<K extends ElementType>(op: string, kinds: readonly Kind[]) {
  return <T extends K>(x: Tensor<T>): Tensor<T> => {
    requireKind(op, x, kinds);
    return emit(op, [x], x, `stablehlo.${op} ${x.name} : ${typeText(x)}`);
  };
}

function binary<K extends ElementType>(op: string, kinds: readonly Kind[]) {
  return <T extends K>(a: Tensor<T>, b: Tensor<NoInfer<T>>): Tensor<T> => {
    requireKind(op, a, kinds);
    requireEqual(op, a, b);
    return emit(op, [a, b], a, `stablehlo.${op} ${a.name}, ${b.name} : ${typeText(a)}`);
  };
}

/** |x|. */
export const abs = unary<FloatType | IntegerType>('abs', ['float', 'integer']);
/** −x. */
export const negate = unary<FloatType | IntegerType>('negate', ['float', 'integer']);
/** −1, 0 or 1. */
export const sign = unary<FloatType | IntegerType>('sign', ['float', 'integer']);
/** eˣ. */
export const exponential = unary<FloatType>('exponential', ['float']);
/** eˣ − 1, exact for small x. */
export const exponentialMinusOne = unary<FloatType>('exponential_minus_one', ['float']);
/** The natural logarithm. */
export const log = unary<FloatType>('log', ['float']);
/** log(1 + x), exact for small x. */
export const logPlusOne = unary<FloatType>('log_plus_one', ['float']);
/** 1 / (1 + e⁻ˣ). */
export const logistic = unary<FloatType>('logistic', ['float']);
/** The hyperbolic tangent. */
export const tanh = unary<FloatType>('tanh', ['float']);
/** √x. */
export const sqrt = unary<FloatType>('sqrt', ['float']);
/** 1 / √x. */
export const rsqrt = unary<FloatType>('rsqrt', ['float']);
/** sin x. */
export const sine = unary<FloatType>('sine', ['float']);
/** cos x. */
export const cosine = unary<FloatType>('cosine', ['float']);
/** The next whole number below. */
export const floor = unary<FloatType>('floor', ['float']);
/** The next whole number above. */
export const ceil = unary<FloatType>('ceil', ['float']);
/** The nearest whole number; halves go to the even one. */
export const roundNearestEven = unary<FloatType>('round_nearest_even', ['float']);
/** The complement of each bit, or of a boolean. */
export const not = unary<IntegerType | 'bool'>('not', ['integer', 'bool']);

/** a + b; of booleans their disjunction. */
export const add = binary<ElementType>('add', ['float', 'integer', 'bool']);
/** a − b. */
export const subtract = binary<FloatType | IntegerType>('subtract', ['float', 'integer']);
/** a · b; of booleans their conjunction. */
export const multiply = binary<ElementType>('multiply', ['float', 'integer', 'bool']);
/** a / b; integers are truncated. */
export const divide = binary<FloatType | IntegerType>('divide', ['float', 'integer']);
/** The remainder of the division, with the sign of a. */
export const remainder = binary<FloatType | IntegerType>('remainder', ['float', 'integer']);
/** aᵇ. */
export const power = binary<FloatType | IntegerType>('power', ['float', 'integer']);
/** The larger element; NaN if one is NaN. */
export const maximum = binary<ElementType>('maximum', ['float', 'integer', 'bool']);
/** The smaller element; NaN if one is NaN. */
export const minimum = binary<ElementType>('minimum', ['float', 'integer', 'bool']);
/** The conjunction of each bit, or of booleans. */
export const and = binary<IntegerType | 'bool'>('and', ['integer', 'bool']);
/** The disjunction of each bit, or of booleans. */
export const or = binary<IntegerType | 'bool'>('or', ['integer', 'bool']);
/** The exclusive disjunction of each bit, or of booleans. */
export const xor = binary<IntegerType | 'bool'>('xor', ['integer', 'bool']);
/** a shifted left by b bits. */
export const shiftLeft = binary<IntegerType>('shift_left', ['integer']);
/** a shifted right by b bits; zeros come in. */
export const shiftRightLogical = binary<IntegerType>('shift_right_logical', ['integer']);

/** How `compare` compares. */
export type Comparison = 'EQ' | 'NE' | 'LT' | 'LE' | 'GT' | 'GE';

/** Compares elements. */
export function compare<T extends ElementType>(
  comparison: Comparison,
  a: Tensor<T>,
  b: Tensor<NoInfer<T>>,
): Tensor<'bool'> {
  requireEqual('compare', a, b);
  const kind = isFloat(a.type) ? 'FLOAT' : /^int/.test(a.type) ? 'SIGNED' : 'UNSIGNED';
  const result = { type: 'bool', shape: a.shape } as const;
  const text = `stablehlo.compare ${comparison}, ${a.name}, ${b.name}, ${kind} : ${signature([a, b], [result])}`;
  return emit('compare', [a, b], result, text);
}

/** Whether elements are neither infinite nor NaN. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: StableHLO's name, used as hlo.isFinite
export function isFinite(x: Tensor<FloatType>): Tensor<'bool'> {
  requireKind('isFinite', x, ['float']);
  const result = { type: 'bool', shape: x.shape } as const;
  return emit('isFinite', [x], result, `stablehlo.is_finite ${x.name} : ${signature([x], [result])}`);
}

/** Elements of `a` where the condition is true, else of `b`. */
export function select<T extends ElementType>(
  condition: Tensor<'bool'>,
  a: Tensor<T>,
  b: Tensor<NoInfer<T>>,
): Tensor<T> {
  requireEqual('select', a, b);
  if (condition.type !== 'bool' || `${condition.shape}` !== `${a.shape}`) {
    fail('select', `got the condition ${describe(condition)}, expected bool[${a.shape}]`);
  }
  const types = `${typeText(condition)}, ${typeText(a)}`;
  return emit(
    'select',
    [condition, a, b],
    a,
    `stablehlo.select ${condition.name}, ${a.name}, ${b.name} : ${types}`,
  );
}

/** Converts elements, rounded to nearest even; to bool: whether they are not zero. */
export function convert<T extends ElementType>(x: Tensor, type: T): Tensor<T> {
  const result = { type, shape: x.shape };
  if ((x.type as string) === type) return x as Tensor<T>;
  return emit('convert', [x], result, `stablehlo.convert ${x.name} : ${signature([x], [result])}`);
}

/** Takes the bits of elements as another type of the same width. */
export function bitcastConvert<T extends ElementType>(x: Tensor, type: T): Tensor<T> {
  const width = (one: ElementType) => ELEMENT_TYPES[one].array.BYTES_PER_ELEMENT;
  if (width(x.type) !== width(type) || x.type === 'bool' || type === 'bool') {
    fail('bitcastConvert', `got ${describe(x)} and ${type}, expected types of equal width`);
  }
  const result = { type, shape: x.shape };
  return emit(
    'bitcastConvert',
    [x],
    result,
    `stablehlo.bitcast_convert ${x.name} : ${signature([x], [result])}`,
  );
}

/** Counts 0, 1, 2, … along one dimension. */
export function iota<T extends FloatType | IntegerType>(
  type: T,
  shape: readonly number[],
  dimension: number,
): Tensor<T> {
  requireShape('iota', shape);
  requireDimensions('iota', [dimension], shape.length);
  const result = { type, shape };
  return emit('iota', [], result, `stablehlo.iota dim = ${dimension} : ${typeText(result)}`);
}

/**
 * A constant: one value for every element, or an array with the elements in row-major order.
 *
 * @param value a number, a bigint for integers, a boolean for `bool`, or the typed array of the type
 */
export function constant<T extends ElementType>(
  type: T,
  value: number | bigint | boolean | HostArray<T>,
  shape: readonly number[] = [],
): Tensor<T> {
  requireShape('constant', shape);
  currentRegion('constant');
  const result = { type, shape };
  const elements = typeof value === 'object' ? arrayText(result, value) : scalarText(type, value);
  return emit('constant', [], result, `stablehlo.constant dense<${elements}> : ${typeText(result)}`);
}

function scalarText(type: ElementType, value: number | bigint | boolean): string {
  if (type === 'bool') return `${Boolean(value)}`;
  if (typeof value === 'boolean') fail('constant', `got ${value} for ${type}, expected a number`);
  if (isFloat(type)) return floatText(type, Number(value));
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    fail('constant', `got ${value} for ${type}, expected a whole number`);
  }
  return `${value}`;
}

/** Bits of infinity and NaN, which MLIR has no words for. */
const SPECIAL = {
  float16: { infinity: '0x7C00', minusInfinity: '0xFC00', nan: '0x7E00' },
  bfloat16: { infinity: '0x7F80', minusInfinity: '0xFF80', nan: '0x7FC0' },
  float32: { infinity: '0x7F800000', minusInfinity: '0xFF800000', nan: '0x7FC00000' },
  float64: {
    infinity: '0x7FF0000000000000',
    minusInfinity: '0xFFF0000000000000',
    nan: '0x7FF8000000000000',
  },
};

function floatText(type: FloatType, value: number): string {
  if (Number.isNaN(value)) return SPECIAL[type].nan;
  if (value === Number.POSITIVE_INFINITY) return SPECIAL[type].infinity;
  if (value === Number.NEGATIVE_INFINITY) return SPECIAL[type].minusInfinity;
  if (Object.is(value, -0)) return '-0.0';
  // MLIR's numbers need a point: 1e-7 becomes 1.0e-7.
  return `${value}`.replace(/^(-?\d+)(e|$)/, '$1.0$2');
}

/** The elements as hexadecimal bytes, exact for every type. */
function arrayText({ type, shape }: TensorType, values: HostArray): string {
  const { array } = ELEMENT_TYPES[type];
  if (values.constructor !== array || values.length !== sizeOf(shape)) {
    const got = `${values.constructor.name} of ${values.length}`;
    fail('constant', `got ${got}, expected ${array.name} of ${sizeOf(shape)} for ${type}[${shape}]`);
  }
  if (values.length === 0) return '';
  // Booleans would be packed to bits.
  if (type === 'bool') return nested([...values].map(Boolean).map(String), shape);
  return `"0x${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex').toUpperCase()}"`;
}

/** Lists in lists, as MLIR writes arrays. */
function nested(elements: readonly string[], shape: readonly number[]): string {
  if (shape.length === 0) return elements[0];
  const [length, ...rest] = shape;
  const step = sizeOf(rest);
  const parts = Array.from({ length }, (_, i) => nested(elements.slice(i * step, (i + 1) * step), rest));
  return `[${parts.join(', ')}]`;
}
