/** Limits the number of connections and closes stalled ones. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface ConnectionsOptions {
  /** When exceeded, the oldest connection that is not held is closed. */
  readonly maxConnections: number;
  /** Milliseconds without progress in a request or response after which a connection is closed. */
  readonly stallTimeout: number;
}

interface Connection {
  readonly socket: Socket;
  /** Number of accepted requests in progress. */
  numHeld: number;
  /** The last request. */
  request?: IncomingMessage;
  /** Bytes transferred in both directions, and the time of their last change. */
  progress: number;
  since: number;
}

/**
 * Manages the connections of a server.
 *
 * Refusing new connections at the limit would let a client that opens many connections lock out all others. Instead, the
 * oldest connection without a complete request is closed.
 */
export class Connections {
  readonly #maxConnections: number;
  readonly #stallTimeout: number;
  /** Ordered by the time of opening or of the last response. */
  readonly #all = new Map<Socket, Connection>();
  readonly #timer: NodeJS.Timeout;

  constructor(server: Server, { maxConnections, stallTimeout }: ConnectionsOptions) {
    this.#maxConnections = maxConnections;
    this.#stallTimeout = stallTimeout;
    server.on('connection', (socket) => this.#add(socket));
    server.on('request', (request, response) => this.#begin(request, response));
    this.#timer = setInterval(() => this.#closeStalled(), Math.ceil(stallTimeout / 10)).unref();
    server.once('close', () => clearInterval(this.#timer));
  }

  /** Keeps a connection open until the returned function is called. */
  hold(socket: Socket): () => void {
    const connection = this.#all.get(socket);
    if (!connection) return () => {};
    connection.numHeld++;
    return () => {
      connection.numHeld--;
    };
  }

  /** Closes all connections that are not held: idle ones and incomplete requests. */
  closeOthers(): void {
    for (const { socket, numHeld } of this.#all.values()) if (numHeld === 0) socket.destroy();
  }

  #add(socket: Socket): void {
    const connection = { socket, numHeld: 0, progress: 0, since: performance.now() };
    this.#all.set(socket, connection);
    socket.once('close', () => this.#all.delete(socket));
    if (this.#all.size <= this.#maxConnections) return;
    for (const { numHeld, socket: oldest } of this.#all.values()) {
      if (numHeld > 0) continue;
      oldest.destroy();
      this.#all.delete(oldest);
      return;
    }
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#all.get(request.socket);
    if (!connection) return;
    connection.request = request;
    response.once('close', () => {
      if (this.#all.delete(request.socket) && !request.socket.destroyed) {
        this.#all.set(request.socket, connection);
      }
    });
  }

  #closeStalled(): void {
    const now = performance.now();
    for (const connection of this.#all.values()) {
      const { socket, request } = connection;
      const isSending = socket.writableLength > 0;
      const isReceiving = request !== undefined && !request.complete;
      // bytesWritten includes bytes that are still buffered here.
      const progress = socket.bytesRead + socket.bytesWritten - socket.writableLength;
      if (progress !== connection.progress || !(isSending || isReceiving)) {
        Object.assign(connection, { progress, since: now });
      } else if (now - connection.since >= this.#stallTimeout) socket.destroy();
    }
  }
}
