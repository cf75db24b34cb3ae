import { io, type Socket } from 'socket.io-client';

import type { Api } from './api.ts';
import { GatewayError } from './errors.ts';
import type { Ack } from './types.ts';

/** How long an acknowledgement may take before the event is sent again. */
const ACK_WITHIN_MS = 8_000;
/** Before a refused connection is tried with a renewed token. */
const RECONNECT_AFTER_MS = 1_000;

export type Status = 'connecting' | 'online' | 'reconnecting' | 'ended';

/** One Socket.IO connection; the official client reconnects it. */
export class Connection {
  readonly socket: Socket;

  constructor(api: Api, gateway: string) {
    this.socket = io(gateway || undefined, {
      // Asked anew at every try: the token of the first one has expired by then.
      auth: (give) => {
        api.session.token().then(
          (token) => give({ token }),
          () => give({}),
        );
      },
      transports: ['websocket'],
      forceNew: true,
      reconnectionDelayMax: 5_000,
    });
    // The server refused the token rather than the network failing: the official client gives up
    // then; a renewed token may do.
    this.socket.on('connect_error', () => {
      if (this.socket.active || !api.session.user) return;
      api.session.token(true).then(
        () => setTimeout(() => this.socket.connect(), RECONNECT_AFTER_MS),
        () => {},
      );
    });
  }

  /** Emits and waits for the acknowledgement; throws the refusal, or `timeout`. */
  async call<T>(event: string, data: unknown): Promise<T> {
    let ack: Ack<T>;
    try {
      ack = await this.socket.timeout(ACK_WITHIN_MS).emitWithAck(event, data);
    } catch {
      throw new GatewayError('timeout', 'no answer in time');
    }
    if (!ack.ok) throw new GatewayError(ack.error.code, ack.error.detail);
    return ack;
  }

  close(): void {
    this.socket.disconnect();
  }
}
