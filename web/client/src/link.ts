import { io, type Socket } from 'socket.io-client';

import { GatewayError } from './errors.ts';
import type { Accepted, Acknowledgement, ClientEvent, ClientEventName, Presence, StoredEvent } from './types.ts';

/** Until a socket is connected and authenticated. */
const CONNECT_WITHIN_MS = 15_000;
/** How long an acknowledgement may take. */
const ACK_WITHIN_MS = 8_000;

export interface LinkListener {
  connected(): void;
  /** Refused at the handshake, or lost later; comes once. `code` is the server's, if it gave one. */
  closed(code: string): void;
  stored(event: StoredEvent): void | false;
  presence(presence: Presence): void | false;
  lag(roomId: string): void | false;
  migrate(): void;
  expired(code: string): void;
}

/** One Socket.IO connection. It is never reconnected: another one takes its place. */
export class Link {
  readonly #socket: Socket;
  readonly #listener: LinkListener;
  readonly #timer: ReturnType<typeof setTimeout>;
  #isClosed = false;

  constructor(gateway: string, token: string, listener: LinkListener) {
    this.#listener = listener;
    const socket = io(gateway || undefined, {
      auth: { token },
      transports: ['websocket'],
      forceNew: true,
      reconnection: false,
    });
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#closed('timeout'), CONNECT_WITHIN_MS);
    this.#on('connect', () => {
      clearTimeout(this.#timer);
      listener.connected();
    });
    this.#on('connect_error', (error?: Error & { data?: { code?: string } }) => {
      this.#closed(error?.data?.code ?? 'network');
    });
    this.#on('disconnect', () => this.#closed('network'));
    this.#on('presence', (presence: Presence) => listener.presence(presence));
    this.#on('lag', (data?: { roomId?: string }) => listener.lag(data?.roomId ?? ''));
    this.#on('migrate', () => listener.migrate());
    this.#on('session-expired', (data?: { code?: string }) => listener.expired(data?.code ?? ''));
    // Also kinds of events that a newer server has: they count in the room's order.
    socket.onAny((name: string, data?: { seq?: unknown; prev?: unknown }) => {
      const isStored = Number.isSafeInteger(data?.seq) && Number.isSafeInteger(data?.prev);
      if (isStored && !this.#isClosed) listener.stored({ name, data } as StoredEvent);
    });
  }

  /** Emits and waits for the acknowledgement; throws the refusal, or `timeout`. */
  async call<Name extends ClientEventName>(event: Name, data: ClientEvent<Name>): Promise<Accepted<Name>> {
    let ack: Acknowledgement<ClientEventName>;
    try {
      ack = (await this.#socket.timeout(ACK_WITHIN_MS).emitWithAck(event, data)) as Acknowledgement<ClientEventName>;
    } catch {
      throw new GatewayError('timeout', 'no answer in time');
    }
    if (!ack.ok) throw new GatewayError(ack.error.code, ack.error.detail);
    return ack as Accepted<Name>;
  }

  /** Has the socket go on with a new token. If it fails, the server ends the socket in time. */
  refresh(token: string): void {
    this.call('refresh', { token }).catch(() => {});
  }

  /** Closes without a word to the listener. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket.disconnect();
  }

  /** Nothing is heard of a link that was closed. */
  #on<T>(name: string, hear: (data: T) => void): void {
    this.#socket.on(name, (data: T) => {
      if (!this.#isClosed) hear(data);
    });
  }

  #closed(code: string): void {
    this.close();
    this.#listener.closed(code);
  }
}
