/**
 * A restricted unpickler: reads the name, shape and storage of each tensor of a `state_dict` that `torch.save` wrote, and runs
 * nothing.
 *
 * A pickle is a program for a stack machine that may call any Python function. This one knows the opcodes that PyTorch
 * writes and the few functions below, which it replaces by data; anything else is refused by name. Work and memory are linear
 * in the length of the pickle.
 */
import { ModelError } from '../errors.ts';

/** Number formats of PyTorch's storages, by the name that safetensors gives them. */
const STORAGES = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
} as const;

/** A number format in a file of PyTorch. */
export type TorchDtype = (typeof STORAGES)[keyof typeof STORAGES];

/** Memory that tensors share. */
interface TorchStorage {
  readonly dtype: TorchDtype;
  /** Its file in the archive. */
  readonly key: string;
  readonly size: number;
}

/** A tensor as a part of a storage, in elements. */
export interface TorchTensor {
  readonly storage: TorchStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const MARK: unique symbol = Symbol('mark');
type Callable = (args: readonly Value[], fail: Fail) => Value;
type Fail = (what: string) => never;
class Tensor {
  readonly value: TorchTensor;
  constructor(value: TorchTensor) {
    this.value = value;
  }
}
class Storage {
  readonly value: TorchStorage;
  constructor(value: TorchStorage) {
    this.value = value;
  }
}
type Value =
  | null
  | boolean
  | number
  | string
  | Value[]
  | Map<Value, Value>
  | Tensor
  | Storage
  | Callable
  | typeof MARK;

const isCount = (value: Value): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const MAX_RANK = 8;
const areCounts = (value: Value): value is number[] =>
  Array.isArray(value) && value.length <= MAX_RANK && value.every(isCount);

/** What a pickle may call. */
const FUNCTIONS: ReadonlyMap<string, Callable> = new Map<string, Callable>([
  ['collections.OrderedDict', () => new Map()],
  [
    'torch._utils._rebuild_tensor_v2',
    ([storage, offset, shape, strides], fail) => {
      const isTensor =
        storage instanceof Storage && isCount(offset) && areCounts(shape) && areCounts(strides);
      if (!isTensor || shape.length !== strides.length) return fail('a tensor of unknown form');
      return new Tensor({ storage: storage.value, offset, shape, strides });
    },
  ],
  ['torch._utils._rebuild_parameter', ([data]) => data],
]);

/**
 * Reads a `state_dict`.
 *
 * @param path of the file, for errors
 * @throws ModelError for a pickle that is damaged or does more than describe tensors
 */
export function unpickleStateDict(pickle: Uint8Array, path: string): Map<string, TorchTensor> {
  const result = new Machine(pickle, path).run();
  const fail = (what: string): never => {
    throw new ModelError(`${path}: ${what}, expected a state_dict: tensors by name`);
  };
  if (!(result instanceof Map)) return fail('got something else');
  const tensors = new Map<string, TorchTensor>();
  for (const [name, tensor] of result) {
    if (typeof name !== 'string') fail('got a key that is not a text');
    if (!(tensor instanceof Tensor)) fail(`got "${String(name)}" that is not a tensor`);
    tensors.set(name as string, (tensor as Tensor).value);
  }
  return tensors;
}

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #path: string;
  readonly #stack: Value[] = [];
  readonly #memo = new Map<number, Value>();
  #at = 0;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#path = path;
  }

  run(): Value {
    for (;;) {
      const opcode = this.#bytes[this.#advance(1)];
      if (opcode === 0x2e) return this.#pop();
      this.#step(opcode);
    }
  }

  /** Executes one opcode of pickle's protocols 2 to 4. */
  #step(opcode: number): void {
    const stack = this.#stack;
    switch (opcode) {
      case 0x80: // PROTO
        this.#advance(1);
        return;
      case 0x95: // FRAME
        this.#advance(8);
        return;
      case 0x28: // MARK
        stack.push(MARK);
        return;
      case 0x7d: // EMPTY_DICT
        stack.push(new Map());
        return;
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        stack.push([]);
        return;
      case 0x4e: // NONE
        stack.push(null);
        return;
      case 0x88: // NEWTRUE
      case 0x89: // NEWFALSE
        stack.push(opcode === 0x88);
        return;
      case 0x4b: // BININT1
        stack.push(this.#bytes[this.#advance(1)]);
        return;
      case 0x4d: // BININT2
        stack.push(this.#view.getUint16(this.#advance(2), true));
        return;
      case 0x4a: // BININT
        stack.push(this.#view.getInt32(this.#advance(4), true));
        return;
      case 0x8a: // LONG1
        stack.push(this.#long(this.#bytes[this.#advance(1)]));
        return;
      case 0x47: // BINFLOAT
        stack.push(this.#view.getFloat64(this.#advance(8)));
        return;
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING
        stack.push(this.#text(this.#bytes[this.#advance(1)]));
        return;
      case 0x58: // BINUNICODE
        stack.push(this.#text(this.#view.getUint32(this.#advance(4), true)));
        return;
      case 0x71: // BINPUT
        this.#memo.set(this.#bytes[this.#advance(1)], this.#top());
        return;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#view.getUint32(this.#advance(4), true), this.#top());
        return;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case 0x68: // BINGET
        stack.push(this.#remembered(this.#bytes[this.#advance(1)]));
        return;
      case 0x6a: // LONG_BINGET
        stack.push(this.#remembered(this.#view.getUint32(this.#advance(4), true)));
        return;
      case 0x74: // TUPLE
        stack.push(this.#popMarked());
        return;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        stack.push(Array.from({ length: opcode - 0x84 }, (): Value => this.#pop()).reverse());
        return;
      case 0x61: // APPEND
        this.#append([this.#pop()]);
        return;
      case 0x65: // APPENDS
        this.#append(this.#popMarked());
        return;
      case 0x73: {
        // SETITEM
        const [value, key]: Value[] = [this.#pop(), this.#pop()];
        this.#setItems([key, value]);
        return;
      }
      case 0x75: // SETITEMS
        this.#setItems(this.#popMarked());
        return;
      case 0x62: // BUILD: attributes, such as the versions of modules
        this.#pop();
        this.#top();
        return;
      case 0x63: // GLOBAL
        stack.push(this.#global(this.#line(), this.#line()));
        return;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [this.#pop(), this.#pop()];
        if (typeof name !== 'string' || typeof module !== 'string') this.#fail('names a function by no text');
        stack.push(this.#global(module as string, name as string));
        return;
      }
      case 0x52: {
        // REDUCE
        const [args, callable] = [this.#pop(), this.#pop()];
        if (typeof callable !== 'function' || !Array.isArray(args))
          this.#fail('calls something that is no function');
        stack.push((callable as Callable)(args as Value[], (what) => this.#fail(`has ${what}`)));
        return;
      }
      case 0x51: // BINPERSID
        stack.push(this.#storage(this.#pop()));
        return;
      default:
        this.#fail(`has the opcode 0x${opcode.toString(16)}, which a state_dict does not need`);
    }
  }

  #global(module: string, name: string): Value {
    const found = FUNCTIONS.get(`${module}.${name}`);
    if (found) return found;
    if (module === 'torch' && Object.hasOwn(STORAGES, name)) {
      const dtype = STORAGES[name as keyof typeof STORAGES];
      return Object.assign(() => this.#fail(`calls torch.${name}`), { dtype });
    }
    return this.#fail(
      `calls ${JSON.stringify(`${module}.${name}`.slice(0, 80))}, which is never run here; save the weights alone, with ` +
        'torch.save(model.state_dict(), path)',
    );
  }

  /** A storage from its persistent id: ('storage', type, key, device, number of elements). */
  #storage(id: Value): Storage {
    const [kind, type, key, , size] = Array.isArray(id) ? id : [];
    const dtype = (type as { dtype?: TorchDtype } | null)?.dtype;
    if (kind !== 'storage' || !dtype || typeof key !== 'string' || !isCount(size)) {
      return this.#fail('has a storage of unknown form');
    }
    return new Storage({ dtype, key, size });
  }

  #append(items: Value[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) this.#fail('appends to something that is no list');
    for (const item of items) (list as Value[]).push(item);
  }

  #setItems(items: Value[]): void {
    const target = this.#top();
    if (!(target instanceof Map) || items.length % 2 !== 0) this.#fail('sets items of something else');
    const map = target as Map<Value, Value>;
    for (let i = 0; i < items.length; i += 2) map.set(items[i], items[i + 1]);
  }

  #remembered(index: number): Value {
    const value = this.#memo.get(index);
    return value === undefined ? this.#fail(`reads the memo at ${index}, which is empty`) : value;
  }

  #top(): Value {
    const value = this.#stack.at(-1);
    return value === undefined ? this.#fail('has an empty stack') : value;
  }

  #pop(): Value {
    const value = this.#stack.pop();
    return value === undefined ? this.#fail('has an empty stack') : value;
  }

  #popMarked(): Value[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) return this.#fail('has no mark');
    const items = this.#stack.splice(mark);
    return items.slice(1);
  }

  #long(length: number): number {
    const start = this.#advance(length);
    // Python integers of any size; those of tensors fit.
    if (length > 7) return this.#fail('has an integer beyond 2^53');
    let value = 0;
    for (let i = length - 1; i >= 0; i--) value = value * 256 + this.#bytes[start + i];
    return length > 0 && this.#bytes[start + length - 1] >= 128 ? value - 256 ** length : value;
  }

  #text(length: number): string {
    const start = this.#advance(length);
    return new TextDecoder().decode(this.#bytes.subarray(start, start + length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) return this.#fail('ends within a name');
    const text = this.#text(end - this.#at);
    this.#at = end + 1;
    return text;
  }

  /** Moves on by some bytes and returns where they begin. */
  #advance(count: number): number {
    const start = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) this.#fail('ends too early');
    return start;
  }

  #fail(what: string): never {
    throw new ModelError(`${this.#path}: not a state_dict of PyTorch, its pickle ${what}`);
  }
}
