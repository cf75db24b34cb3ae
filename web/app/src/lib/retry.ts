import { ApiError, backoff, pause } from '@chatting-room/client';

/** Refusals that may pass; all others of the 400s stay. */
const MAY_PASS = [408, 425, 429];

/**
 * Repeats a request until it succeeds or is refused for good. Resolves to `null` when nobody waits for it
 * any more.
 */
export async function untilDone<T>(isWanted: () => boolean, request: () => Promise<T>): Promise<T | null> {
  for (let failures = 1; isWanted(); failures++) {
    try {
      const answer = await request();
      return isWanted() ? answer : null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status >= 400 && error.status < 500 && !MAY_PASS.includes(error.status)) throw error;
      await pause(backoff(failures, error.retryAfterMs));
    }
  }
  return null;
}
