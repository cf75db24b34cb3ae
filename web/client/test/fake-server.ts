import { FakeSocket } from './fake-socket.ts';
import { Random } from './random.ts';

const ME = { id: 'me', name: 'ada', displayName: 'Ada', createdAt: '2026-01-01T00:00:00.000Z' };
/** The replay window, as a number of events. */
const REPLAY = 12;
const PAGE_SIZE = 5;
/**
 * How long the response to a used refresh token is repeated. The real server does so for 10 s, so a longer outage right
 * after a lost response ends the session. The random tests must not end by that.
 */
const GRACE_MS = 600_000;

export interface StoredFake {
  name: string;
  data: { roomId: string; seq: number; prev: number; id: string } & Record<string, unknown>;
}

/** The HTTP API and a gateway by the contract. Every step fails with the probability `faultRate`. */
export class FakeServer {
  readonly events: StoredFake[] = [];
  readonly sockets = new Set<FakeSocket>();
  readonly counts = { enter: 0, refresh: 0, connect: 0, refreshed: 0 };
  readonly stored = new Map<string, number>();
  /** Events that the client emitted before the gateway could accept them. */
  readonly emittedEarly: string[] = [];
  readonly random: Random;
  readonly lifetimeMs: number;
  /** How long a connection takes to open; random if not set. */
  connectMs: number | null = null;
  faultRate = 0;
  /** If set, its response takes the place of the normal one. */
  override: ((path: string) => Response | null) | null = null;
  /** If set, connections are refused with this code. */
  refusal: string | null = null;
  #seq = 0;
  #tokens = 0;
  #revoked = false;
  #refresh = { current: 'r0', spent: '', spentAt: 0, used: true };
  readonly #expires = new Map<string, number>();

  constructor(seed: number, lifetimeMs = 900_000) {
    this.random = new Random(seed);
    this.lifetimeMs = lifetimeMs;
  }

  get head(): number {
    return this.events.at(-1)?.data.seq ?? 0;
  }

  tokens() {
    const accessToken = `t${++this.#tokens}`;
    this.#expires.set(accessToken, Date.now() + this.lifetimeMs);
    return { accessToken, expiresIn: this.lifetimeMs / 1_000, refreshToken: this.#refresh.current, user: ME };
  }

  /** Stores an event and delivers it to every joined socket. Some deliveries are lost, some are repeated. */
  store(name = 'receive-msg', more: Record<string, unknown> = {}): number {
    const prev = this.#seq;
    this.#seq += 1 + this.random.below(3);
    const data = { roomId: 'room', seq: this.#seq, prev, id: `m${this.#seq}`, from: ME, msg: 'x', at: '', ...more };
    const event = { name, data };
    this.events.push(event);
    for (const socket of this.sockets) if (socket.isJoined) this.#deliver(socket, event);
    return this.#seq;
  }

  /** Does to a random socket what the network or the gateway may do at any time. */
  injectFault(): void {
    const socket = this.random.pick([...this.sockets]);
    if (!socket) return;
    const fault = this.random.pick(['drop', 'lag', 'migrate', 'session-expired', 'repeat'] as const);
    if (fault === 'drop') socket.lose();
    if (fault === 'lag') {
      socket.isJoined = false;
      socket.deliver('lag', { roomId: 'room', last: 0 });
    }
    if (fault === 'migrate') socket.deliver('migrate', { deadline: '' });
    if (fault === 'session-expired') {
      socket.deliver('session-expired', {
        code: this.random.pick(['token-expired', 'token-invalid', 'unknown-later']),
      });
      socket.lose();
    }
    const last = this.events.at(-1);
    if (fault === 'repeat' && last && socket.isJoined) socket.deliver(last.name, last.data);
  }

  revoke(): void {
    this.#revoked = true;
    for (const socket of [...this.sockets]) {
      socket.deliver('session-expired', { code: 'session-revoked' });
      socket.lose();
    }
  }

  readonly fetch = async (input: string, init: RequestInit = {}): Promise<Response> => {
    const { pathname, searchParams } = new URL(input, 'http://fake');
    if (pathname === '/login/refresh') this.counts.refresh++;
    if (pathname === '/room/lobby') this.counts.enter++;
    if (this.random.chance(this.faultRate)) return this.#fail(() => this.#respond(pathname, searchParams, init), init);
    await delay(this.random.below(50));
    return this.override?.(pathname) ?? this.#respond(pathname, searchParams, init);
  };

  readonly connect = (options: { auth: { token: string } }): FakeSocket => {
    this.counts.connect++;
    const socket = new FakeSocket(this, options.auth.token);
    void this.#open(socket);
    return socket;
  };

  async #open(socket: FakeSocket): Promise<void> {
    await delay(this.connectMs ?? this.random.below(50));
    if (this.random.chance(this.faultRate)) {
      if (this.random.chance(0.3)) return;
      return socket.refuse(this.random.pick([undefined, 'unavailable', 'too-many-sockets', 'token-invalid']));
    }
    const expires = this.#expires.get(socket.token) ?? 0;
    const code = this.refusal ?? (this.#revoked ? 'session-revoked' : expires <= Date.now() ? 'token-expired' : null);
    if (code) return socket.refuse(code);
    if (socket.isOver) return;
    this.sockets.add(socket);
    socket.open();
    this.#expire(socket);
  }

  #expire(socket: FakeSocket): void {
    setTimeout(
      () => {
        if (!this.sockets.has(socket)) return;
        if ((this.#expires.get(socket.token) ?? 0) > Date.now()) return this.#expire(socket);
        socket.deliver('session-expired', { code: 'token-expired' });
        socket.lose();
      },
      Math.max(1, (this.#expires.get(socket.token) ?? 0) - Date.now()),
    );
  }

  /** The acknowledgement of a client's event; undefined if it is lost. */
  async acknowledge(socket: FakeSocket, event: string, data: Record<string, unknown>): Promise<unknown> {
    if (!socket.hasJoinAck && event !== 'join-room' && event !== 'refresh') {
      this.emittedEarly.push(`${event} before the join`);
    }
    await delay(this.random.below(50));
    const fails = this.random.chance(this.faultRate);
    if (fails && this.random.chance(0.5)) {
      const codes =
        event === 'join-room' ? ['ticket-expired', 'ticket-invalid', 'forbidden', 'too-many-rooms'] : ['not-joined'];
      return refusal(
        this.random.pick(['unavailable', 'busy', 'rate-limited', 'room-rate-limited', 'storage-full', ...codes]),
      );
    }
    const answer = this.#handle(socket, event, data);
    return fails ? undefined : answer;
  }

  #handle(socket: FakeSocket, event: string, data: Record<string, unknown>): unknown {
    if (!this.sockets.has(socket)) return undefined;
    if (event === 'refresh') {
      this.counts.refreshed++;
      socket.token = String(data['token']);
      return { ok: true };
    }
    if (event === 'send-msg') {
      if (!socket.isJoined) return refusal('not-joined');
      const id = String(data['id']);
      const known = this.stored.get(id);
      const seq = known ?? this.store('receive-msg', { id });
      this.stored.set(id, seq);
      return { ok: true, seq, at: '', duplicate: known !== undefined };
    }
    if (event === 'read' && !socket.isJoined) return refusal('not-joined');
    if (event !== 'join-room') return { ok: true };
    const after = Number(data['after']);
    const missed = this.events.filter(({ data }) => data.seq > after);
    const recovered = missed.length <= REPLAY;
    socket.isJoined = true;
    if (recovered) for (const event of missed) this.#deliver(socket, event);
    return { ok: true, head: this.head, online: { count: 1, users: [ME] }, recovered };
  }

  #deliver(socket: FakeSocket, { name, data }: StoredFake): void {
    if (this.random.chance(this.faultRate * 0.3)) return;
    socket.deliver(name, data);
    if (this.random.chance(this.faultRate * 0.3)) socket.deliver(name, data);
  }

  #respond(path: string, query: URLSearchParams, init: RequestInit): Response {
    if (path === '/login/refresh') {
      const body = JSON.parse(init.body as string) as { refreshToken: string };
      return this.#renew(body.refreshToken);
    }
    const token = new Headers(init.headers).get('authorization')?.slice('Bearer '.length) ?? '';
    if (this.#revoked) return problem(401, 'session-revoked');
    if ((this.#expires.get(token) ?? 0) <= Date.now()) return problem(401, 'token-expired');
    if (path === '/room/lobby') {
      const room = { id: 'room', name: 'lobby', title: null };
      return json({
        room,
        you: { role: 'member' },
        ticket: 'ticket',
        gateway: 'http://fake',
        head: this.head,
        members: { count: 1 },
      });
    }
    if (path !== '/room/lobby/message') return problem(404, 'not-found');
    const after = Number(query.get('after'));
    const items = this.events
      .filter(({ name, data }) => name === 'receive-msg' && data.seq > after)
      .map(({ data }) => data);
    return json({ items: items.slice(0, PAGE_SIZE), next: items.length > PAGE_SIZE ? 'more' : null });
  }

  #renew(given: string): Response {
    const known = this.#refresh;
    const isRepeat = given === known.spent && !known.used && Date.now() - known.spentAt < GRACE_MS;
    if (this.#revoked || (given !== known.current && !isRepeat)) {
      this.#revoked = true;
      return problem(401, 'refresh-reused');
    }
    if (!isRepeat) {
      known.spent = given;
      known.spentAt = Date.now();
      known.current = `r${this.#tokens + 1}`;
    }
    known.used = false;
    return json(this.tokens());
  }

  async #fail(respond: () => Response, { signal }: RequestInit): Promise<Response> {
    await delay(this.random.below(2_000));
    switch (this.random.below(9)) {
      case 0:
        throw new TypeError('fetch failed');
      case 1:
        respond();
        throw new TypeError('the response was lost');
      case 2:
        return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))));
      case 3:
        return problem(429, 'too-many-attempts', { 'retry-after': '3' });
      case 4:
        return problem(408, 'body-too-slow');
      case 5:
        return new Response('<h1>Bad gateway</h1>', { status: 502 });
      case 6:
        return new Response('<h1>no such host</h1>', { status: 404 });
      case 7:
        return problem(500, 'internal');
      default:
        return problem(503, 'unavailable', { 'retry-after': '1' });
    }
  }
}

export const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ code, detail: code, status }), { status, headers });
}

function json(body: unknown): Response {
  return new Response(JSON.stringify(body));
}

function refusal(code: string) {
  return { ok: false, error: { code, detail: code } };
}
