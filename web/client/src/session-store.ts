import { pause } from './backoff.ts';
import type { User } from './types.ts';

/** Where a session outlives the page. `localStorage` fits. */
export interface SessionStore {
  get(): string | null;
  set(value: string | null): void;
}

/** What is stored, for all instances that share the store. */
export interface Saved {
  refreshToken: string;
  user: User;
  /** Names the login that began the session; it stays when the tokens are renewed. */
  login?: string;
  access?: Access;
  /** Only where the browser has no locks: who renews the tokens now. */
  lease?: { by: string; until: number };
}

/** An access token and its lifetime by this machine's clock. */
export interface Access {
  token: string;
  from: number;
  until: number;
}

/** Longer than a renewal can take. */
const LEASE_MS = 20_000;
/** Two instances that take the lease at the same moment have both written it after this. */
const SETTLE_MS = 20;

export function read(store: SessionStore): Saved | null {
  try {
    const saved = JSON.parse(store.get() ?? 'null') as Saved | null;
    return typeof saved?.refreshToken === 'string' && saved.user ? saved : null;
  } catch {
    return null;
  }
}

export function write(store: SessionStore, saved: Saved | null): void {
  store.set(saved && JSON.stringify(saved));
}

/**
 * Runs `work` while no other instance on the same store does: a refresh token is good once. Uses the
 * browser's locks, or a lease in the store itself where those are missing (plain HTTP, Node).
 */
export function exclusively<T>(store: SessionStore, work: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request('chatting-room-refresh', work) : withLease(store, work);
}

async function withLease<T>(store: SessionStore, work: () => Promise<T>): Promise<T> {
  const by = globalThis.crypto?.randomUUID?.() ?? String(Math.random());
  const giveUp = Date.now() + LEASE_MS;
  while (Date.now() < giveUp) {
    const saved = read(store);
    if (!saved) break;
    const { lease } = saved;
    const isTaken = lease && lease.by !== by && lease.until > Date.now() && lease.until <= Date.now() + LEASE_MS;
    if (!isTaken) {
      write(store, { ...saved, lease: { by, until: Date.now() + LEASE_MS } });
      await pause(SETTLE_MS * (1 + Math.random()));
      if (read(store)?.lease?.by === by) break;
    }
    await pause(SETTLE_MS * (1 + Math.random()));
  }
  try {
    return await work();
  } finally {
    const saved = read(store);
    if (saved?.lease?.by === by) {
      delete saved.lease;
      write(store, saved);
    }
  }
}
