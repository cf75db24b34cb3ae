import { Connection, type Status } from './connection.ts';
import { ApiError, GatewayError } from './errors.ts';
import { Order } from './order.ts';
import { STORED_EVENTS, type Entered, type Joined, type Message, type Person, type Presence, type Sent, type StoredEvents } from './types.ts';
import { uuidv7 } from './uuid.ts';
import type { Api } from './api.ts';

type StoredEvent = { [K in keyof StoredEvents]: { name: K; data: StoredEvents[K] } }[keyof StoredEvents];

/** What a room tells its owner. Stored events come in order, without a gap and without a double. */
export interface RoomListener {
  entered(entered: Entered): void;
  event(event: StoredEvent): void;
  /** Messages that were missed for longer than the gateway replays. */
  missed(messages: Message[]): void;
  online(count: number, joined: Person[], left: Person[], all: boolean): void;
  status(status: Status): void;
  /** The room or the session is gone; `code` says why. */
  ended(code: string): void;
}

/** Codes after which the same event may succeed: nothing was decided about it. */
const TRY_AGAIN = new Set(['timeout', 'unavailable', 'busy', 'rate-limited', 'not-joined', 'storage-full']);
const TRY_AGAIN_AFTER_MS = 800;
const TRIES = 30;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** One room, joined and kept joined: over reconnects, slow phases and gateways that stop. */
export class Room {
  readonly #order = new Order();
  #entered: Entered | null = null;
  #connection: Connection | null = null;
  #joining: Promise<void> | null = null;
  #ended = false;

  constructor(
    private readonly api: Api,
    readonly name: string,
    private readonly listener: RoomListener,
  ) {}

  /** Enters, joins, and goes on by itself. Throws what HTTP refuses. */
  async open(): Promise<Entered> {
    const entered = await this.api.enter(this.name);
    this.#take(entered);
    if (!this.#ended) this.#connect(entered.gateway);
    return entered;
  }

  close(): void {
    this.#ended = true;
    this.#connection?.close();
  }

  /** Stores a message, once, however often it must be sent. */
  async send(msg: string, options: { id?: string; fileId?: string; replyTo?: number } = {}): Promise<Sent> {
    const message = { roomId: this.#roomId(), msg, id: uuidv7(), ...options };
    return this.#persist('send-msg', message);
  }

  async rename(name: string): Promise<void> {
    await this.#persist('new', { roomId: this.#roomId(), msg: name });
  }

  #roomId(): string {
    if (!this.#entered) throw new GatewayError('not-joined', 'open the room first');
    return this.#entered.room.id;
  }

  #take(entered: Entered): void {
    this.#entered = entered;
    this.listener.entered(entered);
  }

  #connect(gateway: string): Connection {
    const connection = new Connection(this.api, gateway);
    this.#connection ??= connection;
    const { socket } = connection;
    this.listener.status('connecting');
    socket.on('connect', () => void this.#join(connection));
    socket.on('disconnect', (reason) => {
      if (connection !== this.#connection || this.#ended) return;
      if (reason !== 'io server disconnect') this.listener.status('reconnecting');
    });
    for (const name of STORED_EVENTS) {
      socket.on(name, (data: unknown) => this.#stored({ name, data } as StoredEvent));
    }
    socket.on('presence', ({ count, joined, left }: Presence) => {
      if (connection === this.#connection) this.listener.online(count, joined, left, false);
    });
    socket.on('lag', () => void this.#join(connection));
    socket.on('migrate', () => void this.#migrate(connection));
    socket.on('session-expired', ({ code }: { code: string }) => this.#end(code));
    return connection;
  }

  /** Joins, with what was seen last, so that what was missed comes first. */
  async #join(connection: Connection): Promise<void> {
    this.#joining ??= this.#tryJoin(connection).finally(() => (this.#joining = null));
    return this.#joining;
  }

  async #tryJoin(connection: Connection): Promise<void> {
    for (let tries = 0; tries < TRIES && !this.#ended && connection.socket.connected; tries++) {
      try {
        const entered = await this.api.enter(this.name);
        this.#take(entered);
        const after = this.#order.last ?? entered.head;
        this.#order.reset(after);
        const joined = await connection.call<Joined>('join-room', {
          roomId: entered.room.id,
          userId: this.api.session.user?.id,
          ticket: entered.ticket,
          after,
        });
        if (!joined.recovered) await this.#readMissed(after, joined.head);
        this.listener.online(joined.online.count, joined.online.users, [], true);
        this.listener.status('online');
        return;
      } catch (error) {
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) return this.#end(error.code);
        if (error instanceof GatewayError && !TRY_AGAIN.has(error.code) && !error.code.startsWith('ticket')) {
          return this.#end(error.code);
        }
        await pause(TRY_AGAIN_AFTER_MS);
      }
    }
  }

  /** Pages what the gateway no longer replays. */
  async #readMissed(after: number, head: number): Promise<void> {
    let page = await this.api.messages(this.name, { after, limit: 200 });
    for (;;) {
      this.listener.missed(page.items);
      if (!page.next) break;
      page = await this.api.messages(this.name, { cursor: page.next, limit: 200 });
    }
    this.#order.reset(Math.max(this.#order.last ?? 0, head));
  }

  /** Opens a second connection and closes the first only when the second has joined. */
  async #migrate(old: Connection): Promise<void> {
    if (old !== this.#connection || !this.#entered) return;
    const next = this.#connect(this.#entered.gateway);
    await new Promise((resolve) => next.socket.once('connect', resolve as () => void));
    await this.#join(next);
    this.#connection = next;
    old.close();
  }

  #stored(event: StoredEvent): void {
    if (event.data.roomId !== this.#entered?.room.id) return;
    const verdict = this.#order.see(event.data.seq, event.data.prev);
    if (verdict === 'gap') {
      if (this.#connection) void this.#join(this.#connection);
      return;
    }
    if (verdict === 'known') return;
    this.listener.event(event);
    if (event.name === 'room-deleted') this.#end('room-deleted');
  }

  async #persist<T>(event: string, data: unknown): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        if (!this.#connection || this.#ended) throw new GatewayError('ended', 'the room is closed');
        return await this.#connection.call<T>(event, data);
      } catch (error) {
        const isLast = tries + 1 >= TRIES || this.#ended;
        if (isLast || !(error instanceof GatewayError && TRY_AGAIN.has(error.code))) throw error;
        await pause(TRY_AGAIN_AFTER_MS);
      }
    }
  }

  #end(code: string): void {
    if (this.#ended) return;
    this.close();
    this.listener.status('ended');
    this.listener.ended(code);
  }
}
