import { pause } from './backoff.ts';
import type { User } from './types.ts';

/** Storage that keeps the session when the page is closed, such as `localStorage`. */
export interface SessionStore {
  get(): string | null;
  set(value: string | null): void;
}

/** The stored value. All instances that use the same store share it. */
export interface StoredSession {
  refreshToken: string;
  user: User;
  /** Id of the login that started the session. It stays the same when the tokens are renewed. */
  login?: string;
  access?: Access;
  /** The instance that is renewing the tokens. Used only if the browser has no `navigator.locks`. */
  lease?: { by: string; until: number };
}

/** An access token and when it was issued and expires, by this machine's clock. */
export interface Access {
  token: string;
  from: number;
  until: number;
}

/** Longer than a renewal takes at most. */
const LEASE_MS = 20_000;
/** Two instances that take the lease at the same moment have both written it after this time; the later one has it. */
const SETTLE_MS = 20;

export function readSession(store: SessionStore): StoredSession | null {
  try {
    const saved = JSON.parse(store.get() ?? 'null') as StoredSession | null;
    return typeof saved?.refreshToken === 'string' && saved.user ? saved : null;
  } catch {
    return null;
  }
}

export function writeSession(store: SessionStore, saved: StoredSession | null): void {
  store.set(saved && JSON.stringify(saved));
}

/**
 * Runs `work` while no other instance with the same store does, because a refresh token can be used once. Uses
 * `navigator.locks`, or a lease in the stored value where they are missing (plain HTTP, Node).
 */
export function withRefreshLock<T>(store: SessionStore, work: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request('chatting-room-refresh', work) : withLease(store, work);
}

async function withLease<T>(store: SessionStore, work: () => Promise<T>): Promise<T> {
  const by = globalThis.crypto?.randomUUID?.() ?? String(Math.random());
  const giveUp = Date.now() + LEASE_MS;
  while (Date.now() < giveUp) {
    const saved = readSession(store);
    if (!saved) break;
    const { lease } = saved;
    const isTaken = lease && lease.by !== by && lease.until > Date.now() && lease.until <= Date.now() + LEASE_MS;
    if (!isTaken) {
      writeSession(store, { ...saved, lease: { by, until: Date.now() + LEASE_MS } });
      await pause(SETTLE_MS * (1 + Math.random()));
      if (readSession(store)?.lease?.by === by) break;
    }
    await pause(SETTLE_MS * (1 + Math.random()));
  }
  try {
    return await work();
  } finally {
    const saved = readSession(store);
    if (saved?.lease?.by === by) {
      delete saved.lease;
      writeSession(store, saved);
    }
  }
}
