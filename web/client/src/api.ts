import { ApiError } from './errors.ts';
import { request, type Answer } from './http.ts';
import type { SessionStore } from './session-store.ts';
import { Session } from './session.ts';
import type {
  CompletedFile,
  DeclaredFile,
  Entered,
  FileLink,
  History,
  HistoryQuery,
  NewFile,
  NewRoom,
  RoomInfo,
  RoomPage,
  RoomQuery,
  SignUp,
  Tokens,
  User,
} from './types.ts';

export interface ApiOptions {
  /** Where the functions are; the page's own origin by default. */
  base?: string;
  store: SessionStore;
  onSessionEnd?: () => void;
}

/** The HTTP functions. */
export class Api {
  readonly base: string;
  readonly session: Session;

  constructor({ base = '', store, onSessionEnd = () => {} }: ApiOptions) {
    this.base = base;
    this.session = new Session(base, store, onSessionEnd);
  }

  async signUp(body: SignUp): Promise<User> {
    return (await request<User>('POST', `${this.base}/user`, { body })).body;
  }

  async logIn(name: string, password: string): Promise<User> {
    const { body: tokens } = await request<Tokens>('POST', `${this.base}/login`, { body: { name, password } });
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

  createRoom(body: NewRoom): Promise<RoomInfo> {
    return this.#authorized('POST', '/room', body);
  }

  rooms(query: RoomQuery = {}): Promise<RoomPage> {
    return this.#authorized('GET', `/room${search(query)}`);
  }

  enter(room: string): Promise<Entered> {
    return this.#authorized('GET', `/room/${encodeURIComponent(room)}`);
  }

  async deleteRoom(room: string): Promise<void> {
    await this.#authorized('DELETE', `/room/${encodeURIComponent(room)}`);
  }

  /** A page of messages, oldest first: the newest, those before a seq, or those after one. */
  async messages(room: string, window: HistoryQuery = {}): Promise<History> {
    const path = `/room/${encodeURIComponent(room)}/message${search(window)}`;
    const { body, headers } = await this.#ask<Omit<History, 'complete'>>('GET', path);
    return { ...body, complete: headers.get('x-history') !== 'archived' };
  }

  declareFile(room: string, body: NewFile): Promise<DeclaredFile> {
    return this.#authorized('POST', `/room/${encodeURIComponent(room)}/file`, body);
  }

  completeFile(id: string): Promise<CompletedFile> {
    return this.#authorized('POST', `/file/${id}/complete`);
  }

  /** A link to the storage that lives for minutes. */
  fileLink(id: string): Promise<FileLink> {
    return this.#authorized('GET', `/file/${id}`);
  }

  async #authorized<T>(method: string, path: string, body?: unknown): Promise<T> {
    return (await this.#ask<T>(method, path, body)).body;
  }

  /** Asks with the present token, and once more with a new one if the server refuses it. */
  async #ask<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const { login } = this.session;
    const token = await this.session.token();
    const ask = (token: string) => request<T>(method, this.base + path, { body, token });
    try {
      return await ask(token);
    } catch (error) {
      const code = error instanceof ApiError && error.status === 401 ? error.code : '';
      // This machine's clock may be off, or the server's key may have changed.
      if (code === 'token-expired' || code === 'token-invalid') this.session.refuse(token);
      else if (code !== 'session-revoked' || this.session.revoked(login)) throw error;
      const renewed = await this.session.token();
      if (renewed === token) throw error;
      return ask(renewed);
    }
  }
}

function search(query: Record<string, string | number | boolean | undefined>): string {
  const entries = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[name, String(value)]],
  );
  return entries.length ? `?${new URLSearchParams(entries)}` : '';
}
