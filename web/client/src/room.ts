import { backoff } from './backoff.ts';
import { GatewayError } from './errors.ts';
import { classifyFailure } from './failure.ts';
import { Connection } from './connection.ts';
import { guarded, type RoomListener } from './listener.ts';
import { initial, next, status, type Effect, type Input, type State } from './state-machine.ts';
import { SendQueue } from './send-queue.ts';
import { Replay } from './replay.ts';
import type { Accepted, ClientEvent, ClientEventName, Entered, Joined, Sent, StoredEvent } from './types.ts';
import { uuidv7 } from './uuid.ts';
import type { Api } from './api.ts';

/** After being joined for this long, a room counts as stable: the backoff starts over. */
const STABLE_MS = 10_000;
/** How often to check with the gateway that this user is still in the room. */
const CHECK_INTERVAL_MS = 60_000;

type Timer = ReturnType<typeof setTimeout>;

/**
 * A room that stays joined across lost connections, slow networks and gateways that shut down. `state-machine.ts`
 * decides what to do; this class performs it.
 */
export class Room {
  readonly name: string;
  readonly #api: Api;
  readonly #listener: Required<RoomListener>;
  readonly #replay: Replay;
  readonly #sendQueue = new SendQueue(() => this.#dispatch({ type: 'lag', connection: this.#state.live ?? 0 }));
  readonly #connections = new Map<number, Connection>();
  readonly #inputs: Input[] = [];
  readonly #timers: { retry?: Timer; stable?: Timer; check?: Timer } = {};
  #isDispatching = false;
  #state: State = initial;
  #entered: Entered | null = null;
  #joined: Joined | null = null;
  /** Error of the last failed attempt. */
  #error: unknown;
  /** Code of the last failure, for `retrying`. */
  #reason = '';
  #opening: { resolve(entered: Entered): void; reject(error: unknown): void } | null = null;
  #unwatch = () => {};

  constructor(api: Api, name: string, listener: RoomListener) {
    this.name = name;
    this.#api = api;
    this.#listener = guarded(listener);
    this.#replay = new Replay(api, name, (messages) => this.#listener.missed(messages));
  }

  /**
   * Enters and joins the room, and keeps it joined until `close` or `ended`. Resolves when the room was entered, even
   * if the server is down for a long time before. Rejects if the room ends before that.
   */
  async open(): Promise<Entered> {
    if (this.#opening) throw new GatewayError('already-open', 'a room can be opened only once');
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#unwatch = this.#api.session.watch({
        renewed: (token) => this.#connections.forEach((connection) => connection.refresh(token)),
        ended: () => this.#dispatch({ type: 'final', code: 'session-over' }),
      });
      this.#listener.status(status(this.#state));
      this.#dispatch({ type: 'open' });
    });
  }

  close(): void {
    this.#dispatch({ type: 'close' });
  }

  /** Sends a message, with retries. It is stored once, and messages keep their order. */
  async send(msg: string, options: { id?: string; fileId?: string; replyTo?: number } = {}): Promise<Sent> {
    const message = { msg, id: uuidv7(), ...options };
    return this.#enqueue('send-msg', () => ({ roomId: this.#roomId, ...message }));
  }

  /** Changes this user's display name in the room. */
  async rename(name: string): Promise<void> {
    await this.#enqueue('new', () => ({ roomId: this.#roomId, msg: name }));
  }

  /** Empty before the room was entered; nothing is sent until then. */
  get #roomId(): string {
    return this.#entered?.room.id ?? '';
  }

  #enqueue<Name extends ClientEventName>(event: Name, data: () => ClientEvent<Name>): Promise<Accepted<Name>> {
    if (this.#state.step.name === 'ended') throw new GatewayError('ended', 'the room is closed');
    return this.#sendQueue.push(event, data);
  }

  /** Processes inputs one at a time. An input that an effect causes is queued. */
  #dispatch(input: Input): void {
    this.#inputs.push(input);
    if (this.#isDispatching) return;
    this.#isDispatching = true;
    for (let input = this.#inputs.shift(); input; input = this.#inputs.shift()) {
      const before = status(this.#state);
      const [state, effects] = next(this.#state, input);
      this.#state = state;
      effects.forEach((effect) => this.#perform(effect));
      this.#sendQueue.use(this.#connections.get(state.live ?? 0) ?? null);
      const now = status(state);
      if (now !== before && input.type !== 'close') this.#listener.status(now);
      const end = effects.find((effect) => effect.type === 'end');
      if (end?.code) this.#listener.ended(end.code);
    }
    this.#isDispatching = false;
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'enter':
        return this.#runStep(effect.attempt, () => this.#enter(effect.attempt));
      case 'connect':
        return this.#runStep(effect.attempt, () => this.#connect(effect.attempt, effect.connection));
      case 'join':
        return this.#runStep(effect.attempt, () => this.#join(effect.attempt));
      case 'read':
        return this.#runStep(effect.attempt, () => this.#read(effect.attempt));
      case 'wait': {
        const { attempt, failures, retryAfterMs } = effect;
        clearTimeout(this.#timers.retry);
        const ms = backoff(failures, retryAfterMs);
        this.#timers.retry = setTimeout(() => this.#dispatch({ type: 'timer', attempt }), ms);
        return this.#listener.retrying(this.#reason, ms);
      }
      case 'closeConnection':
        this.#connections.get(effect.connection)?.close();
        this.#connections.delete(effect.connection);
        return;
      case 'joined': {
        clearTimeout(this.#timers.stable);
        this.#timers.stable = setTimeout(
          () => this.#dispatch({ type: 'stable', connection: effect.connection }),
          STABLE_MS,
        );
        this.#scheduleCheck(effect.connection);
        const online = this.#joined?.online;
        if (online) this.#listener.online(online.count, online.users, [], true);
        return;
      }
      case 'end':
        return this.#end(effect.code);
    }
  }

  /** Runs one step of an attempt. A failure becomes an input, unless the attempt is over by then. */
  #runStep(attempt: number, work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      if (attempt !== this.#state.attempt) return;
      this.#error = error;
      const failure = classifyFailure(error);
      this.#reason = failure.code;
      this.#dispatch({ type: 'failed', attempt, failure });
    });
  }

  async #enter(attempt: number): Promise<void> {
    const entered = await this.#api.enter(this.name);
    if (attempt !== this.#state.attempt || this.#state.step.name === 'ended') return;
    this.#entered = entered;
    this.#listener.entered(entered);
    this.#opening?.resolve(entered);
    this.#dispatch({ type: 'entered', attempt });
  }

  async #connect(attempt: number, id: number): Promise<void> {
    const { session } = this.#api;
    const { login } = session;
    const token = await session.token();
    if (attempt !== this.#state.attempt || this.#state.step.name === 'ended') return;
    const isThisRoom = (roomId: string) => roomId === this.#roomId;
    const connection: Connection = new Connection(this.#entered?.gateway ?? '', token, {
      connected: () => this.#dispatch({ type: 'connected', connection: id }),
      closed: (code) => this.#onLost(id, token, login, code),
      stored: (event) => isThisRoom(event.data.roomId) && this.#onStored(id, event),
      presence: ({ roomId, count, joined, left }) =>
        isThisRoom(roomId) && id === this.#state.live && this.#listener.online(count, joined, left, false),
      lag: (roomId) => isThisRoom(roomId) && this.#dispatch({ type: 'lag', connection: id }),
      migrate: () => this.#dispatch({ type: 'migrate', connection: id }),
      expired: (code) => {
        connection.close();
        this.#onLost(id, token, login, code);
      },
    });
    this.#connections.set(id, connection);
  }

  /** A connection was lost. If its token or its session is the reason, that one is given up as well. */
  #onLost(id: number, token: string, login: string | null, code: string): void {
    this.#connections.delete(id);
    this.#reason = code;
    const { session } = this.#api;
    if (code.startsWith('token-')) session.refuse(token);
    if (code === 'session-revoked' && (session.login === login || session.login === null)) {
      this.#dispatch({ type: 'final', code });
      session.revoked(login);
    }
    this.#dispatch({ type: 'lost', connection: id });
  }

  async #join(attempt: number): Promise<void> {
    const [entered, connection] = [this.#entered, this.#connections.get(this.#state.connection ?? 0)];
    if (!entered || !connection) throw new GatewayError('network', 'the connection was lost');
    const { joined, outcome } = await this.#replay.join(connection, entered);
    if (attempt !== this.#state.attempt) return;
    this.#joined = joined;
    this.#dispatch({ type: 'joined', attempt, outcome });
  }

  async #read(attempt: number): Promise<void> {
    await this.#replay.readMissed(this.#joined?.head ?? 0, () => attempt === this.#state.attempt);
    this.#dispatch({ type: 'read', attempt });
  }

  /**
   * Checks regularly that this user is still a member. A removed user gets an event, but if that event is lost or late,
   * the room would look online without receiving anything. The check sends a read mark that does not move: it is the
   * cheapest event for the gateway that only members may send.
   */
  #scheduleCheck(id: number): void {
    clearTimeout(this.#timers.check);
    this.#timers.check = setTimeout(() => {
      const connection = this.#connections.get(id);
      if (id !== this.#state.live || !connection) return;
      connection.call('read', { roomId: this.#roomId, seq: 0 }).catch(({ code }: GatewayError) => {
        if (code === 'not-joined' || code === 'forbidden') this.#dispatch({ type: 'lag', connection: id });
      });
      this.#scheduleCheck(id);
    }, CHECK_INTERVAL_MS);
  }

  #onStored(connection: number, event: StoredEvent): void {
    const verdict = this.#replay.order.see(event.data.seq, event.data.prev);
    if (verdict === 'gap') this.#dispatch({ type: 'gap', connection });
    if (verdict !== 'next') return;
    this.#listener.event(event);
    if (event.name === 'room-deleted') this.#dispatch({ type: 'final', code: 'room-deleted' });
    if (event.name !== 'member-removed' || event.data.user.id !== this.#api.session.user?.id) return;
    // An event from before the room was entered is history: this user was removed then and is a member again.
    if (event.data.seq <= (this.#entered?.head ?? 0)) return;
    this.#dispatch({ type: 'final', code: event.data.banned ? 'banned' : 'removed' });
  }

  #end(code: string | null): void {
    this.#unwatch();
    Object.values(this.#timers).forEach(clearTimeout);
    this.#connections.forEach((connection) => connection.close());
    this.#connections.clear();
    this.#sendQueue.end(code ?? 'ended');
    const isReason = code !== null && classifyFailure(this.#error).code === code;
    this.#opening?.reject(isReason ? this.#error : new GatewayError(code ?? 'closed', 'the room is closed'));
  }
}
