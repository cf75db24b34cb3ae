import { ApiError } from './errors.ts';
import { Session, type SessionStore } from './session.ts';
import type { Entered, FileRef, Message, Page, RoomInfo, Tokens, Upload, User } from './types.ts';

export interface ApiOptions {
  /** Where the functions are; the page's own origin by default. */
  base?: string;
  store: SessionStore;
  onSessionEnd?: () => void;
}

interface Call {
  body?: unknown;
  token?: string;
}

/** The HTTP functions. */
export class Api {
  readonly base: string;
  readonly session: Session;

  constructor({ base = '', store, onSessionEnd = () => {} }: ApiOptions) {
    this.base = base;
    this.session = new Session(base, store, onSessionEnd);
  }

  signUp(body: { name: string; password: string; displayName?: string }): Promise<User> {
    return this.#call('POST', '/user', { body });
  }

  async logIn(name: string, password: string): Promise<User> {
    const tokens = await this.#call<Tokens>('POST', '/login', { body: { name, password } });
    this.session.start(tokens);
    return tokens.user;
  }

  async logOut(): Promise<void> {
    try {
      await this.#authorized('POST', '/logout');
    } finally {
      this.session.end();
    }
  }

  createRoom(body: { name: string; title?: string; private?: boolean }): Promise<RoomInfo> {
    return this.#authorized('POST', '/room', { body });
  }

  rooms(query: { query?: string; mine?: boolean; cursor?: string } = {}): Promise<Page<RoomInfo>> {
    return this.#authorized('GET', `/room${search(query)}`);
  }

  enter(room: string): Promise<Entered> {
    return this.#authorized('GET', `/room/${encodeURIComponent(room)}`);
  }

  async deleteRoom(room: string): Promise<void> {
    await this.#authorized('DELETE', `/room/${encodeURIComponent(room)}`);
  }

  /** A page of messages, oldest first: the newest, those before a seq, or those after one. */
  messages(
    room: string,
    window: { before?: number; after?: number; cursor?: string; limit?: number } = {},
  ): Promise<Page<Message>> {
    return this.#authorized('GET', `/room/${encodeURIComponent(room)}/message${search(window)}`);
  }

  declareFile(
    room: string,
    body: { name: string; size: number; type: string; sha256?: string },
  ): Promise<{ file: FileRef; upload: Upload }> {
    return this.#authorized('POST', `/room/${encodeURIComponent(room)}/file`, { body });
  }

  completeFile(id: string): Promise<{ file: FileRef }> {
    return this.#authorized('POST', `/file/${id}/complete`);
  }

  /** A link to the storage that lives for minutes. */
  fileLink(id: string): Promise<{ url: string; expiresAt: string }> {
    return this.#authorized('GET', `/file/${id}`);
  }

  async #authorized<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const token = await this.session.token();
    try {
      return await this.#call<T>(method, path, { ...call, token });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 'token-expired')) throw error;
      // This machine's clock may be off: one more try with a token that is surely new.
      return this.#call<T>(method, path, { ...call, token: await this.session.token(true) });
    }
  }

  async #call<T>(method: string, path: string, { body, token }: Call): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (token) headers['authorization'] = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(this.base + path, { method, headers, ...sent }).catch(() => {
      throw new ApiError(0, 'network', 'the server cannot be reached');
    });
    const text = await response.text();
    if (response.ok) return (text ? JSON.parse(text) : undefined) as T;
    throw problem(response.status, text);
  }
}

function problem(status: number, text: string): ApiError {
  try {
    const { code, detail, errors } = JSON.parse(text);
    return new ApiError(status, code, detail, errors);
  } catch {
    return new ApiError(status, 'unavailable', `the server answered ${status}`);
  }
}

function search(query: Record<string, string | number | boolean | undefined>): string {
  const entries = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[name, String(value)]],
  );
  return entries.length ? `?${new URLSearchParams(entries)}` : '';
}
