import { backoff } from './backoff.ts';
import { ApiError } from './errors.ts';
import { request } from './http.ts';
import { exclusively, read, write, type Access, type Saved, type SessionStore } from './session-store.ts';
import type { Tokens, User } from './types.ts';

/** Renewed this long before it expires, or after three quarters of a shorter life. */
const EARLY_MS = 60_000;
/** Twice this is within the 10 s in which the server repeats its answer to a spent refresh token. */
const RENEW_WITHIN_MS = 4_500;
/** A token that was issued within this is brand-new. */
const NEW_MS = 10_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Hears of the session as long as it watches. */
export interface SessionWatcher {
  renewed(token: string): void;
  /** Logged out, revoked, or not renewed for too long. */
  ended(): void;
}

/** When a token is due for renewal. */
function due({ from, until }: Access): number {
  return until - Math.min(EARLY_MS, (until - from) / 4);
}

/** The tokens of one login, renewed in time, by one instance at a time. */
export class Session {
  readonly #base: string;
  readonly #store: SessionStore;
  readonly #onEnd: () => void;
  readonly #watchers = new Set<SessionWatcher>();
  #renewing: Promise<string> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** The token that the server refused last. */
  #refused: string | null = null;
  /** The token that watchers know. */
  #announced: string | null = null;

  /** `onEnd` is called when the session is over and cannot be renewed. */
  constructor(base: string, store: SessionStore, onEnd: () => void) {
    this.#base = base;
    this.#store = store;
    this.#onEnd = onEnd;
  }

  get user(): User | null {
    return read(this.#store)?.user ?? null;
  }

  /** Names the present login; another one after logging in again. */
  get login(): string | null {
    const saved = read(this.#store);
    return saved && (saved.login ?? '');
  }

  start(tokens: Tokens): void {
    this.#save(tokens, globalThis.crypto?.randomUUID?.() ?? String(Math.random()));
  }

  end(): void {
    write(this.#store, null);
    clearTimeout(this.#timer);
    for (const watcher of [...this.#watchers]) watcher.ended();
  }

  /** The server says that this login's session is over. False if another one is in its place. */
  revoked(login: string | null): boolean {
    const { login: present } = this;
    if (present !== null && present !== login) return false;
    if (present !== null) this.#over();
    return true;
  }

  /**
   * The server refused this token: it is renewed before its time. Not if it is brand-new: another one
   * would fare no better, and each renewal spends a refresh token.
   */
  refuse(token: string): void {
    const access = read(this.#store)?.access;
    if (access?.token !== token) return;
    // Negative if this machine's clock was set back.
    const age = Date.now() - access.from;
    const isNew = age >= 0 && age < Math.min(NEW_MS, (access.until - access.from) / 4);
    if (!isNew) this.#refused = token;
  }

  /** An access token that is good for a while; `renew` asks for another one than the present. */
  async token(renew = false): Promise<string> {
    if (renew) this.#refused = read(this.#store)?.access?.token ?? null;
    const fresh = this.#fresh();
    if (fresh) return fresh;
    this.#renewing ??= exclusively(this.#store, () => this.#renew()).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  /** Keeps the token fresh and tells of every new one, until the returned function is called. */
  watch(watcher: SessionWatcher): () => void {
    this.#watchers.add(watcher);
    this.#schedule();
    return () => {
      this.#watchers.delete(watcher);
      if (!this.#watchers.size) clearTimeout(this.#timer);
    };
  }

  #fresh(): string | null {
    const access = read(this.#store)?.access;
    if (!access || access.token === this.#refused || due(access) <= Date.now()) return null;
    this.#announce(access.token);
    return access.token;
  }

  async #renew(): Promise<string> {
    // Looked at again inside the lock: another instance may have renewed it.
    const fresh = this.#fresh();
    if (fresh) return fresh;
    const saved = read(this.#store);
    if (!saved) throw new ApiError(401, 'logged-out', 'not logged in');
    let tokens: Tokens;
    try {
      tokens = await this.#exchange(saved);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
      if (read(this.#store)?.refreshToken !== saved.refreshToken) return this.#replaced();
      this.#over();
      throw new ApiError(401, 'session-over', 'log in again');
    }
    // Logged out or in again meanwhile: these tokens are of the session before.
    if (this.login !== (saved.login ?? '')) return this.#replaced();
    this.#save(tokens, saved.login ?? '');
    return tokens.accessToken;
  }

  /** Asks once more if the answer was lost: the server then repeats it. */
  async #exchange({ refreshToken }: Saved): Promise<Tokens> {
    const ask = () =>
      request<Tokens>('POST', `${this.#base}/login/refresh`, { body: { refreshToken }, withinMs: RENEW_WITHIN_MS });
    const answer = await ask().catch((error: ApiError) => {
      if (error.status === 0) return ask();
      throw error;
    });
    return answer.body;
  }

  #replaced(): string {
    const fresh = this.#fresh();
    if (fresh) return fresh;
    if (!read(this.#store)) throw new ApiError(401, 'logged-out', 'not logged in');
    throw new ApiError(0, 'unavailable', 'the session changed meanwhile; try again');
  }

  #save({ accessToken: token, expiresIn, refreshToken, user }: Tokens, login: string): void {
    const from = Date.now();
    const access = { token, from, until: from + expiresIn * 1_000 };
    write(this.#store, { refreshToken, user, login, access });
    this.#announce(token);
  }

  #over(): void {
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

  /** Renews when the token is due. Without one, whoever asks for it first makes it known. */
  #schedule(waitMs?: number): void {
    clearTimeout(this.#timer);
    const access = read(this.#store)?.access;
    if (!access || !this.#watchers.size) return;
    const wait = waitMs ?? Math.max(0, due(access) - Date.now());
    this.#timer = setTimeout(() => void this.#keepFresh(), Math.min(wait, LONGEST_TIMER_MS));
  }

  async #keepFresh(): Promise<void> {
    try {
      await this.token();
      this.#schedule();
    } catch (error) {
      const { status, retryAfterMs } = error as ApiError;
      if (status !== 401) this.#schedule(backoff(++this.#failures, retryAfterMs));
    }
  }
}
