import type { FakeServer } from './fake-server.ts';

type Listener = (data: unknown) => void;

/** Stands in for the socket of `socket.io-client`, with the methods that the SDK uses. */
export class FakeSocket {
  readonly #server: FakeServer;
  readonly #listeners = new Map<string, Listener[]>();
  readonly #any: ((name: string, data: unknown) => void)[] = [];
  /** Events emitted before the connection: like the official client, it sends them before `connect` handlers run. */
  readonly #buffer: (() => void)[] = [];
  token: string;
  connected = false;
  isJoined = false;
  /** The client knows that it has joined. */
  hasJoinAck = false;
  isOver = false;

  constructor(server: FakeServer, token: string) {
    this.#server = server;
    this.token = token;
  }

  on(name: string, listener: Listener): void {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
  }

  onAny(listener: (name: string, data: unknown) => void): void {
    this.#any.push(listener);
  }

  timeout(ms: number) {
    return {
      emitWithAck: (event: string, data: Record<string, unknown>) =>
        new Promise((resolve, reject) => {
          setTimeout(() => reject(new Error('operation has timed out')), ms);
          const send = () =>
            void this.#server.acknowledge(this, event, data).then((ack) => {
              if (ack === undefined) return;
              if (event === 'join-room' && (ack as { ok: boolean }).ok) this.hasJoinAck = true;
              resolve(ack);
            });
          if (this.connected) return send();
          this.#server.emittedEarly.push(`${event} before the connection`);
          this.#buffer.push(send);
        }),
    };
  }

  disconnect(): void {
    this.isOver = true;
    this.connected = false;
    this.#server.sockets.delete(this);
  }

  open(): void {
    this.connected = true;
    this.#buffer.splice(0).forEach((send) => send());
    this.#emit('connect', undefined);
  }

  refuse(code: string | undefined): void {
    if (!this.isOver) this.#emit('connect_error', Object.assign(new Error(code), code ? { data: { code } } : {}));
  }

  lose(): void {
    if (this.isOver) return;
    this.disconnect();
    this.#emit('disconnect', 'transport close');
  }

  deliver(name: string, data: unknown): void {
    if (this.isOver) return;
    for (const listener of this.#any) listener(name, data);
    this.#emit(name, data);
  }

  #emit(name: string, data: unknown): void {
    for (const listener of this.#listeners.get(name) ?? []) listener(data);
  }
}
