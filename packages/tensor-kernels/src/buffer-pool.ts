/** Where buffers come from and go to. */
export interface BufferMemory {
  allocate(bytes: number): ArrayBuffer;
  /** Gives the memory of a buffer that nothing reads any more back to the system. */
  discard(buffer: ArrayBuffer): void;
}

/**
 * Buffers that tensors leave and later tensors take again: a training step's shapes repeat, so after the first
 * step nothing is allocated and no fresh page is touched.
 *
 * Several tensors can share one buffer (TensorFlow.js slices are views), so use is counted per buffer.
 */
export class BufferPool {
  readonly #memory: BufferMemory;
  readonly #free = new Map<number, ArrayBuffer[]>();
  readonly #uses = new Map<ArrayBufferLike, number>();
  #liveBytes = 0;
  #freeBytes = 0;
  #peakLiveBytes = 0;
  #peakBytes = 0;
  /** Buffers let go, by size, and what of them was wanted again later: room that letting go should have left. */
  readonly #discarded = new Map<number, number>();
  #regretBytes = 0;

  constructor(memory: BufferMemory) {
    this.#memory = memory;
  }

  /** A buffer of at least that size with unspecified content, not yet in use. */
  take(bytes: number): ArrayBuffer {
    const size = sizeClass(bytes);
    const recycled = this.#free.get(size)?.pop();
    if (recycled) this.#freeBytes -= size;
    const buffer = recycled ?? this.#renew(size);
    this.#uses.set(buffer, 0);
    this.#liveBytes += size;
    if (this.#liveBytes > this.#peakLiveBytes) this.#peakLiveBytes = this.#liveBytes;
    const held = this.#liveBytes + this.#freeBytes;
    if (held > this.#peakBytes) this.#peakBytes = held;
    return buffer;
  }

  /** Counts one more tensor on a buffer; others' buffers are ignored. */
  retain(buffer: ArrayBufferLike): void {
    const uses = this.#uses.get(buffer);
    if (uses !== undefined) this.#uses.set(buffer, uses + 1);
  }

  /** Counts one less; the last one's buffer becomes free for others. */
  release(buffer: ArrayBufferLike): void {
    const uses = this.#uses.get(buffer);
    if (uses === undefined) return;
    if (uses > 1) {
      this.#uses.set(buffer, uses - 1);
      return;
    }
    this.#uses.delete(buffer);
    this.#liveBytes -= buffer.byteLength;
    this.#freeBytes += buffer.byteLength;
    const list = this.#free.get(buffer.byteLength) ?? [];
    list.push(buffer as ArrayBuffer);
    // Sizes in the order of their last release: what shapes of long ago left is the first to go.
    this.#free.delete(buffer.byteLength);
    this.#free.set(buffer.byteLength, list);
    // An eighth beyond the peak lets phases with different sizes take turns without allocating, and more of it, up to
    // half of the peak, where that was not enough: forward and backward passes have few sizes in common.
    const slack = Math.min(this.#peakLiveBytes / 8 + this.#regretBytes, this.#peakLiveBytes / 2);
    this.#trim(Math.max(this.#peakLiveBytes + slack - this.#liveBytes, 1 << 26));
  }

  #renew(size: number): ArrayBuffer {
    const discarded = this.#discarded.get(size) ?? 0;
    if (discarded > 0) {
      this.#discarded.set(size, discarded - 1);
      this.#regretBytes += size;
    }
    return this.#memory.allocate(size);
  }

  /**
   * Lets free buffers go until at most `limit` bytes are kept. The garbage collector may be long in coming, so their
   * memory is given back before.
   */
  #trim(limit: number): void {
    for (const [size, list] of this.#free) {
      while (this.#freeBytes > limit && list.length > 0) {
        this.#memory.discard(list.pop()!);
        this.#freeBytes -= size;
        this.#discarded.set(size, (this.#discarded.get(size) ?? 0) + 1);
      }
      if (list.length > 0) return;
      this.#free.delete(size);
    }
  }

  owns(buffer: ArrayBufferLike): boolean {
    return this.#uses.has(buffer);
  }

  /** Bytes in use, kept for reuse, and the largest sum of both so far. */
  memory(): { liveBytes: number; freeBytes: number; peakBytes: number } {
    return { liveBytes: this.#liveBytes, freeBytes: this.#freeBytes, peakBytes: this.#peakBytes };
  }
}

/** Rounds up so that near sizes share buffers, wasting at most an eighth. */
function sizeClass(bytes: number): number {
  if (bytes <= 4096) return Math.max(64, Math.ceil(bytes / 64) * 64);
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}
