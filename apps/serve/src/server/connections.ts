/** Connections: how many there are, and which of them have come to a standstill. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Options of {@link Connections}. */
export interface ConnectionsOptions {
  /** Most connections; beyond them the oldest that is not held gives way. */
  readonly most: number;
  /** Milliseconds after which one that neither sends the rest of a request nor takes its answer is cut off. */
  readonly patience: number;
}

interface Connection {
  readonly socket: Socket;
  /** Requests on it that the server has taken on. */
  numHeld: number;
  /** The newest. */
  request?: IncomingMessage;
  /** Bytes that went either way when it was last looked at, and since when it has been so many. */
  progress: number;
  since: number;
}

/**
 * Watches the connections of a server.
 *
 * A limit that refuses newcomers lets a client that opens connections lock all others out. Here newcomers are let in, and
 * the oldest connection without a whole request gives way: a client that sends its request and reads the answer is
 * never the oldest for long.
 */
export class Connections {
  readonly #most: number;
  readonly #patience: number;
  /** In the order in which they were opened or last finished an answer. */
  readonly #all = new Map<Socket, Connection>();
  readonly #timer: NodeJS.Timeout;

  constructor(server: Server, { most, patience }: ConnectionsOptions) {
    this.#most = most;
    this.#patience = patience;
    server.on('connection', (socket) => this.#add(socket));
    server.on('request', (request, response) => this.#begin(request, response));
    this.#timer = setInterval(() => this.#cutStalled(), Math.ceil(patience / 10)).unref();
    server.once('close', () => clearInterval(this.#timer));
  }

  /** Keeps the connection of a request that the server has taken on, until what is returned is called. */
  hold(socket: Socket): () => void {
    const connection = this.#all.get(socket);
    if (!connection) return () => {};
    connection.numHeld++;
    return () => {
      connection.numHeld--;
    };
  }

  /** Ends all that are not held: idle ones, and requests that have not come whole. */
  closeOthers(): void {
    for (const { socket, numHeld } of this.#all.values()) if (numHeld === 0) socket.destroy();
  }

  #add(socket: Socket): void {
    const connection = { socket, numHeld: 0, progress: 0, since: performance.now() };
    this.#all.set(socket, connection);
    socket.once('close', () => this.#all.delete(socket));
    if (this.#all.size <= this.#most) return;
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

  #cutStalled(): void {
    const now = performance.now();
    for (const connection of this.#all.values()) {
      const { socket, request } = connection;
      const isSending = socket.writableLength > 0;
      const isReceiving = request !== undefined && !request.complete;
      // What was handed to the system: of what was written, that which does not wait here any more.
      const progress = socket.bytesRead + socket.bytesWritten - socket.writableLength;
      if (progress !== connection.progress || !(isSending || isReceiving)) {
        Object.assign(connection, { progress, since: now });
      } else if (now - connection.since >= this.#patience) socket.destroy();
    }
  }
}
