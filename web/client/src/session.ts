import { ApiError } from './errors.ts';
import type { Tokens, User } from './types.ts';

/** Where a session outlives the page. `localStorage` fits. */
export interface SessionStore {
  get(): string | null;
  set(value: string | null): void;
}

interface Saved {
  refreshToken: string;
  user: User;
}

/** Renewed this long before it expires. */
const EARLY_MS = 60_000;

/** The tokens of one login, renewed in time, by one tab at a time: a refresh token is good once. */
export class Session {
  readonly #base: string;
  readonly #store: SessionStore;
  readonly #onEnd: () => void;
  #access: { token: string; until: number; of: string } | null = null;
  #renewing: Promise<string> | null = null;

  /** `onEnd` is called when the session is over and cannot be renewed. */
  constructor(base: string, store: SessionStore, onEnd: () => void) {
    this.#base = base;
    this.#store = store;
    this.#onEnd = onEnd;
  }

  get user(): User | null {
    return this.#saved()?.user ?? null;
  }

  start(tokens: Tokens): void {
    const { accessToken, expiresIn, refreshToken, user } = tokens;
    this.#access = { token: accessToken, until: Date.now() + expiresIn * 1000, of: user.id };
    this.#store.set(JSON.stringify({ refreshToken, user } satisfies Saved));
  }

  end(): void {
    this.#access = null;
    this.#store.set(null);
  }

  /** An access token that is good for a while; `renew` asks for one that is surely new. */
  async token(renew = false): Promise<string> {
    const access = this.#access;
    const isFresh = access && access.of === this.user?.id && access.until - EARLY_MS > Date.now();
    if (isFresh && !renew) return access.token;
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #renew(): Promise<string> {
    const refresh = async () => {
      // Read inside the lock: another tab may have renewed meanwhile.
      const saved = this.#saved();
      if (!saved) throw new ApiError(401, 'token-missing', 'not logged in');
      const response = await fetch(`${this.#base}/login/refresh`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ refreshToken: saved.refreshToken }),
      });
      if (response.status === 401) {
        this.end();
        this.#onEnd();
        throw new ApiError(401, 'session-over', 'log in again');
      }
      if (!response.ok) throw new ApiError(response.status, 'unavailable', 'try again');
      const tokens = (await response.json()) as Tokens;
      this.start(tokens);
      return tokens.accessToken;
    };
    const locks = globalThis.navigator?.locks;
    return locks ? locks.request('chatting-room-refresh', refresh) : refresh();
  }

  #saved(): Saved | null {
    try {
      return JSON.parse(this.#store.get() ?? 'null') as Saved | null;
    } catch {
      return null;
    }
  }
}
