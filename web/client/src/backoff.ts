/** Upper bound of the first delay. It doubles with every consecutive failure. */
const BASE_MS = 1_000;
const MAX_MS = 10_000;
/** Cap on a server's Retry-After, so that a wrong value cannot stop a client for good. */
const MAX_RETRY_AFTER_MS = 15 * 60_000;

/** The delay in ms after this many consecutive failures: exponential backoff with full jitter, plus Retry-After. */
export function backoff(failures: number, retryAfterMs = 0, random: () => number = Math.random): number {
  const bound = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(Math.max(failures, 1) - 1, 16));
  return Math.min(Math.max(retryAfterMs, 0), MAX_RETRY_AFTER_MS) + random() * bound;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
