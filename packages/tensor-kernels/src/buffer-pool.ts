/** Allocates and releases memory. */
export interface BufferMemory {
  allocate(bytes: number): ArrayBuffer;
  /** Returns the memory of an unused buffer to the system. */
  discard(buffer: ArrayBuffer): void;
}

/**
 * Recycles the buffers of disposed tensors: the shapes of a training step repeat, so that nothing is allocated after the
 * first step and no new page is touched.
 *
 * Counts references to each buffer, since tensors can share one (TensorFlow.js slices are views).
 */
export class BufferPool {
  readonly #memory: BufferMemory;
  readonly #free = new Map<number, ArrayBuffer[]>();
  readonly #uses = new Map<ArrayBufferLike, number>();
  #liveBytes = 0;
  #freeBytes = 0;
  #peakLiveBytes = 0;
  #peakBytes = 0;
  /** Number of discarded buffers by size, and bytes of those that were needed again later. */
  readonly #discarded = new Map<number, number>();
  #regretBytes = 0;

  constructor(memory: BufferMemory) {
    this.#memory = memory;
  }

  /** Returns an unused buffer of at least that size, with unspecified content. */
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

  /** Adds a reference to a buffer of this pool; ignores others. */
  retain(buffer: ArrayBufferLike): void {
    const uses = this.#uses.get(buffer);
    if (uses !== undefined) this.#uses.set(buffer, uses + 1);
  }

  /** Removes a reference; a buffer without references becomes free. */
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
    // Ordered by the last release: sizes that have not been used for longest are discarded first.
    this.#free.delete(buffer.byteLength);
    this.#free.set(buffer.byteLength, list);
    // Slack of an eighth of the peak lets phases with different sizes alternate without allocating; it grows up to half
    // of the peak where that was not enough, since forward and backward passes have few sizes in common.
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
   * Discards free buffers until at most `limit` bytes are kept. Their memory returns to the system at once, since the
   * garbage collector may run much later.
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

  /** Discards all free buffers, and forgets what was needed before. */
  reset(): void {
    this.#trim(0);
    this.#discarded.clear();
    this.#regretBytes = 0;
    this.#peakLiveBytes = this.#liveBytes;
  }

  owns(buffer: ArrayBufferLike): boolean {
    return this.#uses.has(buffer);
  }

  /** Returns the bytes in use, the bytes kept for reuse, and the largest sum of both so far. */
  memory(): { liveBytes: number; freeBytes: number; peakBytes: number } {
    return { liveBytes: this.#liveBytes, freeBytes: this.#freeBytes, peakBytes: this.#peakBytes };
  }
}

/** Rounds up by at most an eighth, so that similar sizes share buffers. */
function sizeClass(bytes: number): number {
  if (bytes <= 4096) return Math.max(64, Math.ceil(bytes / 64) * 64);
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}
