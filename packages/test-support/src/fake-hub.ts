/** A server on loopback with the part of the Hub's interface that clients of files use, to read and to write. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Files above this size are stored as LFS files, on another host. */
const LFS_BYTES = 1000;
/** Files of a page of a listing. */
const PAGE = 3;

interface ServedRepository {
  files: Record<string, string | Buffer>;
  /** Only for requests with this token. */
  token?: string;
  /** With a token, whether the terms are not accepted. */
  isGated?: boolean;
  isPrivate?: boolean;
}

/** A request as the server saw it. */
interface Seen {
  host: 'hub' | 'storage';
  method: string;
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

export class FakeHub {
  readonly requests: Seen[] = [];
  /** Repositories by name, data sets with `datasets/`. */
  readonly repositories = new Map<string, ServedRepository>();
  /**
   * Answers to give first, in order: a status, or bytes of the content after which the connection is cut; the host `hub`
   * cuts it before an answer.
   */
  readonly faults: {
    host: Seen['host'];
    status?: number;
    cutAfter?: number;
    headers?: Record<string, string>;
  }[] = [];
  /** The token that may create repositories of the owner `me` and write to them. */
  writeToken = 'hf_write';
  /** Whether the storage ignores ranges. */
  ignoresRanges = false;
  /** Changes a stored file. */
  damage: (content: Buffer) => Buffer = (content) => content;
  /** Files by commit, of every commit that was asked for. */
  readonly #history = new Map<string, ServedRepository['files']>();
  /** Uploaded large files by SHA-256. */
  readonly #uploads = new Map<string, Buffer>();
  #hub: Server | undefined;
  #storage: Server | undefined;

  async start(): Promise<string> {
    this.#storage = await listen((request, response) => void this.#answerStorage(request, response));
    this.#hub = await listen((request, response) => void this.#answerHub(request, response));
    return urlOf(this.#hub);
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      server?.closeAllConnections();
      await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    }
  }

  /** The commit of a repository: changes with its files. */
  commitOf(name: string): string {
    const hash = createHash('sha1').update(name);
    for (const [path, content] of Object.entries(this.repositories.get(name)!.files))
      hash.update(path).update(content);
    return hash.digest('hex');
  }

  /** Requests for contents. */
  get downloads(): Seen[] {
    return this.requests.filter(({ path, method }) => method === 'GET' && /\/resolve\/|^\/blob\//.test(path));
  }

  #see(host: Seen['host'], { method = '', url = '', headers }: IncomingMessage, response: ServerResponse) {
    const { authorization, range } = headers;
    this.requests.push({ host, method, path: url, authorization, range });
    const fault = this.faults[0]?.host === host ? this.faults.shift() : undefined;
    if (fault?.status !== undefined) response.writeHead(fault.status, fault.headers).end();
    return fault;
  }

  async #answerHub(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = this.#see('hub', request, response);
    if (fault?.cutAfter !== undefined) return void response.destroy();
    if (fault?.status !== undefined) return;
    if (request.method === 'POST') {
      const [status, answer] = this.#write(request, await bodyOf(request));
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      return;
    }
    const url = new URL(request.url!, 'http://localhost');
    // The branch of converted data sets has the same files.
    const path = decodeURIComponent(url.pathname).replace('refs/convert/parquet', 'main');
    const [, isApi, isData, repo, rest] =
      /^(\/api)?\/(datasets\/|models\/)?([\w.-]+\/[\w.-]+)(\/.*)?$/.exec(path) ?? [];
    const name = `${isData === 'datasets/' ? 'datasets/' : ''}${repo}`;
    const repository = this.repositories.get(name);
    const fail = (status: number, code: string) => response.writeHead(status, { 'x-error-code': code }).end();
    const token = request.headers.authorization;
    if (!repository || (repository.token && token !== `Bearer ${repository.token}`))
      return void fail(401, 'RepoNotFound');
    if (repository.isGated) return void fail(403, 'GatedRepo');
    const latest = this.commitOf(name);
    this.#history.set(latest, { ...repository.files });
    const [, action, revision, ...parts] = (rest ?? '').split('/');
    const inPath = parts.join('/');
    const commit = revision === undefined || /^(main|v1)$/.test(revision) ? latest : revision;
    const files = this.#history.get(commit);
    if (!files) return void fail(404, 'RevisionNotFound');
    const json = (value: unknown, headers = {}) =>
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
    if (isApi && action === 'revision') {
      const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
      return void json({ _id: '1', id: repo, sha: commit, private: false, siblings });
    }
    if (isApi && action === 'tree') {
      const folder = inPath === '' ? '' : `${inPath}/`;
      const all = Object.keys(files)
        .filter((file) => file.startsWith(folder))
        .sort();
      const from = Number(url.searchParams.get('cursor') ?? 0);
      const next =
        from + PAGE < all.length &&
        `${urlOf(this.#hub!)}${url.pathname}?recursive=true&cursor=${from + PAGE}`;
      const entries = all.slice(from, from + PAGE).map((file) => entryOf(file, Buffer.from(files[file])));
      return void json(entries, next ? { link: `<${next}>; rel="next"` } : {});
    }
    if (action !== 'resolve' || files[inPath] === undefined) return void fail(404, 'EntryNotFound');
    const content = Buffer.from(files[inPath]);
    const { oid, lfs } = entryOf(inPath, content);
    const about = {
      'x-repo-commit': commit,
      'x-linked-etag': `"${lfs?.oid ?? oid}"`,
      'x-linked-size': String(content.length),
      etag: `"${lfs?.oid ?? oid}"`,
    };
    if (!lfs) {
      response.writeHead(200, { ...about, 'content-length': content.length });
      return void response.end(request.method === 'HEAD' ? undefined : content);
    }
    const location = `${urlOf(this.#storage!)}/blob/${encodeURIComponent(name)}/${inPath}`;
    response.writeHead(302, { ...about, location }).end();
  }

  /** Answers requests that create a repository and add a commit. */
  #write({ url = '', headers }: IncomingMessage, body: Buffer): [status: number, answer: object] {
    const token = headers.authorization?.replace('Bearer ', '');
    if (token !== this.writeToken) return [401, { error: 'Invalid credentials' }];
    if (url === '/api/repos/create') {
      const { name, organization, visibility } = JSON.parse(body.toString());
      const repo = `${organization}/${name}`;
      if (organization !== 'me') return [403, { error: `You don't have the rights under "${organization}"` }];
      if (this.repositories.has(repo)) return [409, { error: 'You already created this model repo' }];
      this.repositories.set(repo, {
        files: { '.gitattributes': '' },
        ...(visibility === 'private' && { isPrivate: true, token }),
      });
      return [200, { url: `${urlOf(this.#hub!)}/${repo}`, id: repo, name: repo }];
    }
    const [, repo, action] =
      /^(?:\/api\/models)?\/([\w.-]+\/[\w.-]+?)(?:\.git\/info|\/(?=preupload|commit))(.*)$/.exec(url) ?? [];
    const repository = this.repositories.get(repo);
    if (!repository) return [404, { error: 'Repository not found' }];
    if (action === 'preupload/main') {
      const files: { path: string; size: number }[] = JSON.parse(body.toString()).files;
      const modeOf = (size: number) => (size > LFS_BYTES ? 'lfs' : 'regular');
      return [200, { files: files.map(({ path, size }) => ({ path, uploadMode: modeOf(size) })) }];
    }
    if (action === '/lfs/objects/batch') {
      const objects: { oid: string; size: number }[] = JSON.parse(body.toString()).objects;
      const href = (oid: string) => `${urlOf(this.#storage!)}/upload/${oid}`;
      const answers = objects.map((object) => ({
        ...object,
        actions: { upload: { href: href(object.oid) } },
      }));
      return [200, { transfer: 'basic', objects: answers }];
    }
    const files: ServedRepository['files'] = { ...repository.files };
    for (const line of body.toString().split('\n')) {
      const { key, value } = JSON.parse(line);
      if (key === 'file') files[value.path] = Buffer.from(value.content, value.encoding);
      if (key !== 'lfsFile') continue;
      const content = this.#uploads.get(value.oid);
      if (!content) return [400, { error: `${value.path} was not uploaded` }];
      files[value.path] = content;
    }
    repository.files = files;
    const commitOid = this.commitOf(repo);
    return [200, { success: true, commitOid, commitUrl: `${urlOf(this.#hub!)}/${repo}/commit/${commitOid}` }];
  }

  async #answerStorage(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = this.#see('storage', request, response);
    if (fault?.status !== undefined) return;
    if (request.method === 'PUT') {
      const content = await bodyOf(request);
      const oid = createHash('sha256').update(content).digest('hex');
      this.#uploads.set(oid, content);
      response.writeHead(request.url === `/upload/${oid}` ? 200 : 400).end();
      return;
    }
    const [, , name, ...parts] = request.url!.split('/');
    const whole = this.damage(
      Buffer.from(this.repositories.get(decodeURIComponent(name))!.files[parts.join('/')]),
    );
    const from = this.ignoresRanges ? 0 : Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const content = whole.subarray(from);
    const range = { 'content-range': `bytes ${from}-${whole.length - 1}/${whole.length}` };
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': content.length, ...(from > 0 && range) });
    if (fault?.cutAfter === undefined) return void response.end(content);
    response.write(content.subarray(0, fault.cutAfter), () => setTimeout(() => response.destroy(), 20));
  }
}

function entryOf(path: string, content: Buffer) {
  const git = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
  const entry = { type: 'file', path, size: content.length, oid: git };
  if (content.length <= LFS_BYTES) return { ...entry, lfs: undefined };
  const oid = createHash('sha256').update(content).digest('hex');
  return { ...entry, lfs: { oid, size: content.length, pointerSize: 130 } };
}

async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}
