import { io, type Socket } from 'socket.io-client';

import { GatewayError } from './errors.ts';
import type { Accepted, Acknowledgement, ClientEvent, ClientEventName, Presence, StoredEvent } from './types.ts';

/** Time limit for connecting and authenticating. */
const CONNECT_TIMEOUT_MS = 15_000;
/** Time limit for an acknowledgement. */
const ACK_TIMEOUT_MS = 8_000;

export interface ConnectionListener {
  connected(): void;
  /** The handshake was refused or the connection was lost, with the server's code if it sent one. Called only once. */
  closed(code: string): void;
  stored(event: StoredEvent): void | false;
  presence(presence: Presence): void | false;
  lag(roomId: string): void | false;
  migrate(): void;
  expired(code: string): void;
}

/** One Socket.IO connection. It is never reconnected: a room opens a new one instead. */
export class Connection {
  readonly #socket: Socket;
  readonly #listener: ConnectionListener;
  readonly #timer: ReturnType<typeof setTimeout>;
  /** A token that was renewed before the connection was open. */
  #renewed: string | null = null;
  #isClosed = false;

  constructor(gateway: string, token: string, listener: ConnectionListener) {
    this.#listener = listener;
    const socket = io(gateway || undefined, {
      auth: { token },
      transports: ['websocket'],
      forceNew: true,
      reconnection: false,
    });
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#closed('timeout'), CONNECT_TIMEOUT_MS);
    this.#on('connect', () => {
      clearTimeout(this.#timer);
      if (this.#renewed) this.refresh(this.#renewed);
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
    // Includes event types that only a newer server has, because they count in the room's order.
    socket.onAny((name: string, data?: { seq?: unknown; prev?: unknown }) => {
      const isStored = Number.isSafeInteger(data?.seq) && Number.isSafeInteger(data?.prev);
      if (isStored && !this.#isClosed) listener.stored({ name, data } as StoredEvent);
    });
  }

  /**
   * Sends an event and waits for the acknowledgement. Throws a `GatewayError` if it is refused or does not come, and if
   * the connection is not open: Socket.IO would send the event later, before the room is joined.
   */
  async call<Name extends ClientEventName>(event: Name, data: ClientEvent<Name>): Promise<Accepted<Name>> {
    if (!this.#socket.connected) throw new GatewayError('network', 'the connection is not open');
    let ack: Acknowledgement<ClientEventName>;
    try {
      ack = (await this.#socket.timeout(ACK_TIMEOUT_MS).emitWithAck(event, data)) as Acknowledgement<ClientEventName>;
    } catch {
      throw new GatewayError('timeout', 'no acknowledgement in time');
    }
    if (!ack.ok) throw new GatewayError(ack.error.code, ack.error.detail);
    return ack as Accepted<Name>;
  }

  /** Replaces the token. A failure is ignored, because the server closes the socket when the old token expires. */
  refresh(token: string): void {
    if (!this.#socket.connected) {
      this.#renewed = token;
      return;
    }
    this.call('refresh', { token }).catch(() => {});
  }

  /** Closes the connection without calling the listener. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket.disconnect();
  }

  /** Adds a handler that is not called after `close`. */
  #on<T>(name: string, handler: (data: T) => void): void {
    this.#socket.on(name, (data: T) => {
      if (!this.#isClosed) handler(data);
    });
  }

  #closed(code: string): void {
    this.close();
    this.#listener.closed(code);
  }
}
