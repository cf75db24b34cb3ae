/** Upper bound of the first wait; it doubles with every failure in a row. */
const FIRST_MS = 1_000;
const LONGEST_MS = 10_000;
/** A server may ask for a longer wait with Retry-After, but not for ever. */
const LONGEST_ASKED_MS = 15 * 60_000;

/** Exponential backoff with full jitter: the wait after this many failures in a row, at least one. */
export function backoff(failures: number, retryAfterMs = 0, random: () => number = Math.random): number {
  const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(Math.max(failures, 1) - 1, 16));
  return Math.min(Math.max(retryAfterMs, 0), LONGEST_ASKED_MS) + random() * bound;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
