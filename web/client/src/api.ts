import { ApiError } from './errors.ts';
import { request, type JsonResponse } from './http.ts';
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
  /** Base URL of the HTTP API. The default is the page's own origin. */
  base?: string;
  store: SessionStore;
  /** Called when the session has ended and the user has to log in again. */
  onSessionEnd?: () => void;
}

/** The HTTP API. Requests that need a session get its access token. */
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
    return this.#authorized('GET', `/room${toQueryString(query)}`);
  }

  enter(room: string): Promise<Entered> {
    return this.#authorized('GET', `/room/${encodeURIComponent(room)}`);
  }

  async deleteRoom(room: string): Promise<void> {
    await this.#authorized('DELETE', `/room/${encodeURIComponent(room)}`);
  }

  /** A page of messages, oldest first: the newest, or those before or after a seq. */
  async messages(room: string, window: HistoryQuery = {}): Promise<History> {
    const path = `/room/${encodeURIComponent(room)}/message${toQueryString(window)}`;
    const { body, headers } = await this.#send<Omit<History, 'complete'>>('GET', path);
    return { ...body, complete: headers.get('x-history') !== 'archived' };
  }

  declareFile(room: string, body: NewFile): Promise<DeclaredFile> {
    return this.#authorized('POST', `/room/${encodeURIComponent(room)}/file`, body);
  }

  completeFile(id: string): Promise<CompletedFile> {
    return this.#authorized('POST', `/file/${id}/complete`);
  }

  /** A presigned URL of the object storage. It expires after a few minutes. */
  fileLink(id: string): Promise<FileLink> {
    return this.#authorized('GET', `/file/${id}`);
  }

  async #authorized<T>(method: string, path: string, body?: unknown): Promise<T> {
    return (await this.#send<T>(method, path, body)).body;
  }

  /** Sends a request with the current token. If the server refuses the token, sends it once more with a new one. */
  async #send<T>(method: string, path: string, body?: unknown): Promise<JsonResponse<T>> {
    const { login } = this.session;
    const token = await this.session.token();
    const send = (token: string) => request<T>(method, this.base + path, { body, token });
    try {
      return await send(token);
    } catch (error) {
      const code = error instanceof ApiError && error.status === 401 ? error.code : '';
      // The token looked valid here, so this machine's clock is wrong or the server's signing key has changed.
      if (code === 'token-expired' || code === 'token-invalid') this.session.refuse(token);
      else if (code !== 'session-revoked' || this.session.revoked(login)) throw error;
      const renewed = await this.session.token();
      if (renewed === token) throw error;
      return send(renewed);
    }
  }
}

/** The query string of these parameters, without empty ones. */
function toQueryString(query: Record<string, string | number | boolean | undefined>): string {
  const entries = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[name, String(value)]],
  );
  return entries.length ? `?${new URLSearchParams(entries)}` : '';
}
