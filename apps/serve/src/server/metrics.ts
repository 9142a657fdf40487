import * as tf from '@tensorflow/tfjs-core';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { CompletionEngine } from './completion-engine.ts';

// Histogram buckets in seconds.
const SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300];

export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter('requests_total', 'Responses, by path and status', ['path', 'status']);
  readonly #promptTokens = this.#counter('prompt_tokens_total', 'Tokens of accepted prompts');
  readonly #newTokens = this.#counter('generated_tokens_total', 'Tokens generated and read by clients');
  readonly #duration = this.#histogram(
    'request_seconds',
    'Time from the headers of a request to the end of its response',
  );
  readonly #firstToken = this.#histogram('first_token_seconds', 'Time from a request to its first new token');

  constructor(engine: CompletionEngine) {
    this.#gauge('sequences_running', 'Sequences being computed', () => engine.numRunning);
    this.#gauge('sequences_waiting', 'Sequences in the queue', () => engine.numWaiting);
    this.#gauge('tensors', 'Number of tensors', () => tf.memory().numTensors);
    this.#gauge('resident_bytes', 'Resident memory of the process', () => process.memoryUsage.rss());
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }

  responded(path: string, status: number, seconds: number): void {
    this.#requests.inc({ path, status });
    this.#duration.observe(seconds);
  }

  prompted(numTokens: number): void {
    this.#promptTokens.inc(numTokens);
  }

  generated(numTokens: number): void {
    this.#newTokens.inc(numTokens);
  }

  firstToken(seconds: number): void {
    this.#firstToken.observe(seconds);
  }

  #counter<T extends string>(name: string, help: string, labelNames: T[] = []): Counter<T> {
    return new Counter({ name: `meap_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ name: `meap_${name}`, help, buckets: SECONDS, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    const collect = function (this: Gauge) {
      this.set(read());
    };
    new Gauge({ name: `meap_${name}`, help, collect, registers: [this.#registry] });
  }
}
