import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A temporary folder of a test. */
export class TemporaryFolder {
  readonly directory = mkdtempSync(join(tmpdir(), 'meap-test-'));

  /** A path inside it. */
  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  /** Removes it with everything inside. */
  dispose(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
