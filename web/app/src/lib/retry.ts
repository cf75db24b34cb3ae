import { ApiError, backoff, pause } from '@chatting-room/client';

/** Client errors that may succeed later. All other 4xx are final. */
const TEMPORARY_STATUSES = [408, 425, 429];

/** Repeats a request until it succeeds or fails for good. Resolves to null if the result is not wanted any more. */
export async function withRetries<T>(isWanted: () => boolean, request: () => Promise<T>): Promise<T | null> {
  for (let failures = 1; isWanted(); failures++) {
    try {
      const result = await request();
      return isWanted() ? result : null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status >= 400 && error.status < 500 && !TEMPORARY_STATUSES.includes(error.status)) throw error;
      await pause(backoff(failures, error.retryAfterMs));
    }
  }
  return null;
}
