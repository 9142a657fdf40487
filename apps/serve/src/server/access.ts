/** Access control: API key, and protection of local servers from web pages. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { ApiError } from './api-error.ts';

/** Whether an address or name is a loopback one. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (isIP(name) === 4) return name.startsWith('127.');
  return name === 'localhost' || name === '::1';
}

/**
 * Refuses requests of web pages from other hosts.
 *
 * With DNS rebinding, `Host` is the attacker's name; a cross-origin request has an `Origin`.
 *
 * @throws ApiError 403
 */
export function requireLocal({ host, origin }: { host?: string; origin?: string }): void {
  const url = `http://${host}`;
  if (host === undefined || !URL.canParse(url) || !isLoopback(new URL(url).hostname)) {
    throw new ApiError(403, `Host: got '${host ?? ''}', expected localhost or a loopback address`);
  }
  if (origin !== undefined && origin !== url) {
    throw new ApiError(403, `Origin: got '${origin}', expected none; requests of web pages are refused`);
  }
}

/** Returns a check of `Authorization` headers that takes constant time. */
export function keyCheck(key: string): (header: string | undefined) => void {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = digest(key);
  return (header = '') => {
    const [, given = ''] = /^Bearer (.+)$/i.exec(header) ?? [];
    if (timingSafeEqual(digest(given), expected)) return;
    const problem = given === '' ? 'no API key' : 'an invalid API key';
    throw new ApiError(401, `Authorization: got ${problem}, expected 'Bearer KEY'`, {
      code: 'invalid_api_key',
    });
  };
}
