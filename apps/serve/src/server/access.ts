/** Who may talk to the server. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { ApiError } from './api-error.ts';

/** Whether an address or name is this machine's own. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (isIP(name) === 4) return name.startsWith('127.');
  return name === 'localhost' || name === '::1';
}

/**
 * Refuses what a browser sends on behalf of a page from elsewhere.
 *
 * A page whose name an attacker points at 127.0.0.1 (DNS rebinding) sends that name as `Host`; a page that just posts to
 * this port sends its own `Origin`. Programs send neither.
 *
 * @throws ApiError 403
 */
export function requireLocal({ host, origin }: { host?: string; origin?: string }): void {
  const url = `http://${host}`;
  if (host === undefined || !URL.canParse(url) || !isLoopback(new URL(url).hostname)) {
    throw new ApiError(403, `Host: got '${host ?? ''}', expected localhost or a loopback address`);
  }
  if (origin !== undefined && origin !== url) {
    throw new ApiError(403, `Origin: requests of web pages are refused, got '${origin}'`);
  }
}

/** A check of `Authorization` headers against a key, in time that does not depend on how much of it is right. */
export function keyCheck(key: string): (header: string | undefined) => void {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = digest(key);
  return (header = '') => {
    const [, given = ''] = /^Bearer (.+)$/i.exec(header) ?? [];
    if (timingSafeEqual(digest(given), expected)) return;
    const problem = given === '' ? 'no API key' : 'a wrong API key';
    throw new ApiError(401, `Authorization: got ${problem}, expected 'Bearer KEY'`, {
      code: 'invalid_api_key',
    });
  };
}
