import { backoff } from './backoff.ts';
import { GatewayError } from './errors.ts';
import { failure } from './failure.ts';
import { Link } from './link.ts';
import { guarded, type RoomListener } from './listener.ts';
import { initial, next, status, type Effect, type Input, type State } from './machine.ts';
import { Outbox } from './outbox.ts';
import { Replay } from './replay.ts';
import type { Accepted, ClientEvent, ClientEventName, Entered, Joined, Sent, StoredEvent } from './types.ts';
import { uuidv7 } from './uuid.ts';
import type { Api } from './api.ts';

/** Joined for this long, a room counts as stable, and the next failure as the first. */
const STABLE_MS = 10_000;
/** How often the gateway is asked whether this user is still in the room. */
const CHECK_EVERY_MS = 60_000;

type Timer = ReturnType<typeof setTimeout>;

/**
 * One room, joined and kept joined: over reconnects, slow phases and gateways that stop. What it does
 * when is decided by `machine.ts`; this performs it.
 */
export class Room {
  readonly name: string;
  readonly #api: Api;
  readonly #listener: Required<RoomListener>;
  readonly #replay: Replay;
  readonly #outbox = new Outbox(() => this.#feed({ type: 'lag', link: this.#state.live ?? 0 }));
  readonly #links = new Map<number, Link>();
  readonly #inputs: Input[] = [];
  readonly #timers: { retry?: Timer; stable?: Timer; check?: Timer } = {};
  #isFeeding = false;
  #state: State = initial;
  #entered: Entered | null = null;
  #joined: Joined | null = null;
  #error: unknown;
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
   * Enters, joins, and goes on by itself until `close` or `ended`. Resolves once the room was entered,
   * however long the server is away; rejects if the room ends before that.
   */
  async open(): Promise<Entered> {
    if (this.#opening) throw new GatewayError('already-open', 'a room is opened once');
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#unwatch = this.#api.session.watch({
        renewed: (token) => this.#links.forEach((link) => link.refresh(token)),
        ended: () => this.#feed({ type: 'final', code: 'session-over' }),
      });
      this.#listener.status(status(this.#state));
      this.#feed({ type: 'open' });
    });
  }

  close(): void {
    this.#feed({ type: 'close' });
  }

  /** Stores a message, once, however often it must be sent. Messages keep their order. */
  async send(msg: string, options: { id?: string; fileId?: string; replyTo?: number } = {}): Promise<Sent> {
    const message = { msg, id: uuidv7(), ...options };
    return this.#persist('send-msg', () => ({ roomId: this.#roomId, ...message }));
  }

  async rename(name: string): Promise<void> {
    await this.#persist('new', () => ({ roomId: this.#roomId, msg: name }));
  }

  /** Empty before the room was entered; nothing is sent until then. */
  get #roomId(): string {
    return this.#entered?.room.id ?? '';
  }

  #persist<Name extends ClientEventName>(event: Name, data: () => ClientEvent<Name>): Promise<Accepted<Name>> {
    if (this.#state.step.name === 'ended') throw new GatewayError('ended', 'the room is closed');
    return this.#outbox.push(event, data);
  }

  /** One input after the other, whatever the effects of one bring about. */
  #feed(input: Input): void {
    this.#inputs.push(input);
    if (this.#isFeeding) return;
    this.#isFeeding = true;
    for (let input = this.#inputs.shift(); input; input = this.#inputs.shift()) {
      const before = status(this.#state);
      const [state, effects] = next(this.#state, input);
      this.#state = state;
      effects.forEach((effect) => this.#perform(effect));
      this.#outbox.use(this.#links.get(state.live ?? 0) ?? null);
      const now = status(state);
      if (now !== before && input.type !== 'close') this.#listener.status(now);
      const end = effects.find((effect) => effect.type === 'end');
      if (end?.code) this.#listener.ended(end.code);
    }
    this.#isFeeding = false;
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'enter':
        return this.#try(effect.attempt, () => this.#enter(effect.attempt));
      case 'connect':
        return this.#try(effect.attempt, () => this.#connect(effect.attempt, effect.link));
      case 'join':
        return this.#try(effect.attempt, () => this.#join(effect.attempt));
      case 'read':
        return this.#try(effect.attempt, () => this.#read(effect.attempt));
      case 'wait': {
        const { attempt, failures, retryAfterMs } = effect;
        clearTimeout(this.#timers.retry);
        const ms = backoff(failures, retryAfterMs);
        this.#timers.retry = setTimeout(() => this.#feed({ type: 'timer', attempt }), ms);
        return this.#listener.retrying(this.#reason, ms);
      }
      case 'closeLink':
        this.#links.get(effect.link)?.close();
        this.#links.delete(effect.link);
        return;
      case 'joined': {
        clearTimeout(this.#timers.stable);
        this.#timers.stable = setTimeout(() => this.#feed({ type: 'stable', link: effect.link }), STABLE_MS);
        this.#check(effect.link);
        const online = this.#joined?.online;
        if (online) this.#listener.online(online.count, online.users, [], true);
        return;
      }
      case 'end':
        return this.#end(effect.code);
    }
  }

  /** A part of an attempt, which may fail. */
  #try(attempt: number, work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      if (attempt !== this.#state.attempt) return;
      this.#error = error;
      this.#reason = failure(error).code;
      this.#feed({ type: 'failed', attempt, failure: failure(error) });
    });
  }

  async #enter(attempt: number): Promise<void> {
    const entered = await this.#api.enter(this.name);
    if (attempt !== this.#state.attempt || this.#state.step.name === 'ended') return;
    this.#entered = entered;
    this.#listener.entered(entered);
    this.#opening?.resolve(entered);
    this.#feed({ type: 'entered', attempt });
  }

  async #connect(attempt: number, id: number): Promise<void> {
    const { session } = this.#api;
    const { login } = session;
    const token = await session.token();
    if (attempt !== this.#state.attempt || this.#state.step.name === 'ended') return;
    const isHere = (roomId: string) => roomId === this.#roomId;
    const link: Link = new Link(this.#entered?.gateway ?? '', token, {
      connected: () => this.#feed({ type: 'connected', link: id }),
      closed: (code) => this.#lost(id, token, login, code),
      stored: (event) => isHere(event.data.roomId) && this.#stored(id, event),
      presence: ({ roomId, count, joined, left }) =>
        isHere(roomId) && id === this.#state.live && this.#listener.online(count, joined, left, false),
      lag: (roomId) => isHere(roomId) && this.#feed({ type: 'lag', link: id }),
      migrate: () => this.#feed({ type: 'migrate', link: id }),
      expired: (code) => {
        link.close();
        this.#lost(id, token, login, code);
      },
    });
    this.#links.set(id, link);
  }

  /** A link is gone. If its token or its session is the reason, another one is needed. */
  #lost(id: number, token: string, login: string | null, code: string): void {
    this.#links.delete(id);
    this.#reason = code;
    const { session } = this.#api;
    if (code.startsWith('token-')) session.refuse(token);
    if (code === 'session-revoked' && (session.login === login || session.login === null)) {
      this.#feed({ type: 'final', code });
      session.revoked(login);
    }
    this.#feed({ type: 'lost', link: id });
  }

  async #join(attempt: number): Promise<void> {
    const [entered, link] = [this.#entered, this.#links.get(this.#state.link ?? 0)];
    if (!entered || !link) throw new GatewayError('network', 'the link is gone');
    const { joined, outcome } = await this.#replay.join(link, entered);
    if (attempt !== this.#state.attempt) return;
    this.#joined = joined;
    this.#feed({ type: 'joined', attempt, outcome });
  }

  async #read(attempt: number): Promise<void> {
    await this.#replay.read(this.#joined?.head ?? 0, () => attempt === this.#state.attempt);
    this.#feed({ type: 'read', attempt });
  }

  /**
   * Whoever is removed hears so by an event; if that is lost, or late because the stream is full, the
   * room would stay online in silence. A read mark that does not move costs the gateway least, and only
   * members may send it.
   */
  #check(id: number): void {
    clearTimeout(this.#timers.check);
    this.#timers.check = setTimeout(() => {
      const link = this.#links.get(id);
      if (id !== this.#state.live || !link) return;
      link.call('read', { roomId: this.#roomId, seq: 0 }).catch(({ code }: GatewayError) => {
        if (code === 'not-joined' || code === 'forbidden') this.#feed({ type: 'lag', link: id });
      });
      this.#check(id);
    }, CHECK_EVERY_MS);
  }

  #stored(link: number, event: StoredEvent): void {
    const verdict = this.#replay.order.see(event.data.seq, event.data.prev);
    if (verdict === 'gap') this.#feed({ type: 'gap', link });
    if (verdict !== 'next') return;
    this.#listener.event(event);
    if (event.name === 'room-deleted') this.#feed({ type: 'final', code: 'room-deleted' });
    if (event.name !== 'member-removed' || event.data.user.id !== this.#api.session.user?.id) return;
    // One from before the room was entered is history: whoever was removed was let in again.
    if (event.data.seq <= (this.#entered?.head ?? 0)) return;
    this.#feed({ type: 'final', code: event.data.banned ? 'banned' : 'removed' });
  }

  #end(code: string | null): void {
    this.#unwatch();
    Object.values(this.#timers).forEach(clearTimeout);
    this.#links.forEach((link) => link.close());
    this.#links.clear();
    this.#outbox.end(code ?? 'ended');
    const isReason = code !== null && failure(this.#error).code === code;
    this.#opening?.reject(isReason ? this.#error : new GatewayError(code ?? 'closed', 'the room is closed'));
  }
}
