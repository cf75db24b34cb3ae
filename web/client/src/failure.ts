import { ApiError, GatewayError } from './errors.ts';
import type { Failure } from './machine.ts';

/** No later attempt can succeed after these. */
const FINAL = new Set([
  'banned',
  'password-required',
  'no-such-room',
  'room-deleted',
  'session-over',
  'session-revoked',
  'logged-out',
]);

/** What an error means to an attempt to join. All that is not known to be final may pass. */
export function failure(error: unknown): Failure {
  if (error instanceof ApiError) {
    const { code, status, retryAfterMs } = error;
    // A 404 that is no problem document comes from a proxy.
    return { code, retryAfterMs, final: FINAL.has(code) || (status === 404 && code !== 'unavailable') };
  }
  const code = error instanceof GatewayError ? error.code : 'unavailable';
  return { code, final: FINAL.has(code) };
}
