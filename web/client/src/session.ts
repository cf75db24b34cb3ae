import { backoff } from './backoff.ts';
import { ApiError } from './errors.ts';
import { request } from './http.ts';
import {
  readSession,
  withRefreshLock,
  writeSession,
  type Access,
  type SessionStore,
  type StoredSession,
} from './session-store.ts';
import type { Tokens, User } from './types.ts';

/** A token is renewed this long before it expires, or after three quarters of a shorter lifetime. */
const RENEW_EARLY_MS = 60_000;
/** Two attempts fit into the 10 s in which the server accepts a used refresh token again with the same response. */
const RENEW_TIMEOUT_MS = 4_500;
/** A token younger than this is new: another one would be refused as well. */
const NEW_MS = 10_000;
/** The greatest delay that `setTimeout` supports. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Callbacks for changes of a session. */
export interface SessionWatcher {
  renewed(token: string): void;
  /** The user logged out, or the session was revoked or expired. */
  ended(): void;
}

/** The time at which a token is to be renewed. */
function renewalTime({ from, until }: Access): number {
  return until - Math.min(RENEW_EARLY_MS, (until - from) / 4);
}

/** The tokens of a login. They are renewed before they expire, by one instance at a time. */
export class Session {
  readonly #base: string;
  readonly #store: SessionStore;
  readonly #onEnd: () => void;
  readonly #watchers = new Set<SessionWatcher>();
  #renewing: Promise<string> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** The token that the server refused last. It is not used again. */
  #refused: string | null = null;
  /** The token that watchers were called with last. */
  #announced: string | null = null;

  /** `onEnd` is called when the session has ended and cannot be renewed. */
  constructor(base: string, store: SessionStore, onEnd: () => void) {
    this.#base = base;
    this.#store = store;
    this.#onEnd = onEnd;
  }

  get user(): User | null {
    return readSession(this.#store)?.user ?? null;
  }

  /** Id of the current login. It changes with every login. */
  get login(): string | null {
    const saved = readSession(this.#store);
    return saved && (saved.login ?? '');
  }

  start(tokens: Tokens): void {
    this.#save(tokens, globalThis.crypto?.randomUUID?.() ?? String(Math.random()));
  }

  end(): void {
    writeSession(this.#store, null);
    clearTimeout(this.#timer);
    for (const watcher of [...this.#watchers]) watcher.ended();
  }

  /** Ends the session because the server revoked this login. Returns false if there is a later login by now. */
  revoked(login: string | null): boolean {
    const { login: current } = this;
    if (current !== null && current !== login) return false;
    if (current !== null) this.#expire();
    return true;
  }

  /**
   * Renews a token early because the server refused it. A new token is not renewed: another one would be refused as
   * well, and every renewal uses up a refresh token.
   */
  refuse(token: string): void {
    const access = readSession(this.#store)?.access;
    if (access?.token !== token) return;
    // Negative if this machine's clock was set back since.
    const age = Date.now() - access.from;
    const isNew = age >= 0 && age < Math.min(NEW_MS, (access.until - access.from) / 4);
    if (!isNew) this.#refused = token;
  }

  /** A valid access token. With `renew`, a different one than the current. */
  async token(renew = false): Promise<string> {
    if (renew) this.#refused = readSession(this.#store)?.access?.token ?? null;
    const token = this.#validToken();
    if (token) return token;
    this.#renewing ??= withRefreshLock(this.#store, () => this.#renew()).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  /** Keeps the token valid and calls the watcher for every new one, until the returned function is called. */
  watch(watcher: SessionWatcher): () => void {
    this.#watchers.add(watcher);
    this.#schedule();
    return () => {
      this.#watchers.delete(watcher);
      if (!this.#watchers.size) clearTimeout(this.#timer);
    };
  }

  #validToken(): string | null {
    const access = readSession(this.#store)?.access;
    if (!access || access.token === this.#refused || renewalTime(access) <= Date.now()) return null;
    this.#announce(access.token);
    return access.token;
  }

  async #renew(): Promise<string> {
    // Checked again inside the lock, because another instance may have renewed the token.
    const token = this.#validToken();
    if (token) return token;
    const saved = readSession(this.#store);
    if (!saved) throw new ApiError(401, 'logged-out', 'not logged in');
    let tokens: Tokens;
    try {
      tokens = await this.#exchange(saved);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
      if (readSession(this.#store)?.refreshToken !== saved.refreshToken) return this.#tokenOfOtherInstance();
      this.#expire();
      throw new ApiError(401, 'session-over', 'log in again');
    }
    // The user logged out or logged in again during the request, so these tokens are of an earlier session.
    if (this.login !== (saved.login ?? '')) return this.#tokenOfOtherInstance();
    this.#save(tokens, saved.login ?? '');
    return tokens.accessToken;
  }

  /** Uses the refresh token. Tries again if the response was lost: the server then repeats it. */
  async #exchange({ refreshToken }: StoredSession): Promise<Tokens> {
    const send = () =>
      request<Tokens>('POST', `${this.#base}/login/refresh`, { body: { refreshToken }, timeoutMs: RENEW_TIMEOUT_MS });
    const response = await send().catch((error: ApiError) => {
      if (error.status === 0) return send();
      throw error;
    });
    return response.body;
  }

  /** The token that another instance stored while this one was renewing. */
  #tokenOfOtherInstance(): string {
    const token = this.#validToken();
    if (token) return token;
    if (!readSession(this.#store)) throw new ApiError(401, 'logged-out', 'not logged in');
    throw new ApiError(0, 'unavailable', 'the session changed during the renewal; try again');
  }

  #save({ accessToken: token, expiresIn, refreshToken, user }: Tokens, login: string): void {
    const from = Date.now();
    const access = { token, from, until: from + expiresIn * 1_000 };
    writeSession(this.#store, { refreshToken, user, login, access });
    this.#announce(token);
  }

  #expire(): void {
    this.end();
    this.#onEnd();
  }

  #announce(token: string): void {
    if (token === this.#announced) return;
    this.#announced = token;
    this.#failures = 0;
    for (const watcher of [...this.#watchers]) watcher.renewed(token);
    this.#schedule();
  }

  /** Sets the timer for the next renewal. Without a token, the first call of `token` sets it. */
  #schedule(delayMs?: number): void {
    clearTimeout(this.#timer);
    const access = readSession(this.#store)?.access;
    if (!access || !this.#watchers.size) return;
    const delay = delayMs ?? Math.max(0, renewalTime(access) - Date.now());
    this.#timer = setTimeout(() => void this.#renewScheduled(), Math.min(delay, MAX_TIMER_MS));
  }

  async #renewScheduled(): Promise<void> {
    try {
      await this.token();
      this.#schedule();
    } catch (error) {
      const { status, retryAfterMs } = error as ApiError;
      if (status !== 401) this.#schedule(backoff(++this.#failures, retryAfterMs));
    }
  }
}
