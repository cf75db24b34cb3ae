import { ApiError, GatewayError } from './errors.ts';
import type { Failure } from './state-machine.ts';

/** Codes after which no later attempt can succeed. */
const FINAL_CODES = new Set([
  'banned',
  'password-required',
  'no-such-room',
  'room-deleted',
  'session-over',
  'session-revoked',
  'logged-out',
]);

/** Decides whether another attempt to join makes sense. An unknown error counts as temporary. */
export function classifyFailure(error: unknown): Failure {
  if (error instanceof ApiError) {
    const { code, status, retryAfterMs } = error;
    // A 404 without a problem document has the code `unavailable`. It comes from a proxy in between.
    return { code, retryAfterMs, final: FINAL_CODES.has(code) || (status === 404 && code !== 'unavailable') };
  }
  const code = error instanceof GatewayError ? error.code : 'unavailable';
  return { code, final: FINAL_CODES.has(code) };
}
