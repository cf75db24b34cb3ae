import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { FakeServer, problem } from './fake-server.ts';
import { open, wait } from './open-room.ts';

let server: FakeServer;
vi.mock('socket.io-client', () => ({ io: (_: string, options: never) => server.connect(options) }));

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function serve(seed: number, lifetimeMs?: number): FakeServer {
  // Timers of an earlier run must not fire in this one.
  vi.clearAllTimers();
  server = new FakeServer(seed, lifetimeMs);
  vi.stubGlobal('fetch', server.fetch);
  // With the same seed, a run has the same backoff delays.
  vi.spyOn(Math, 'random').mockImplementation(() => server.random.unit());
  return server;
}

/** Runs a room for two minutes with faults of all kinds, then without faults until it has recovered. */
async function runWithFaults(seed: number, eventNames: string[]) {
  const server = serve(seed, 20_000 + (seed % 5) * 20_000);
  const { random } = server;
  server.store();
  const { room, seen } = open(server);
  const sent: Promise<unknown>[] = [];
  if (seed % 3) await wait(5_000);
  server.faultRate = random.pick([0.05, 0.2, 0.5, 0.9]);
  const most = { enter: 0, refresh: 0, connect: 0 };
  for (let minute = 0; minute < 2; minute++) {
    const before = { ...server.counts };
    for (let second = 0; second < 60; second++) {
      for (let n = random.below(4); n > 0; n--) server.store(random.pick(eventNames));
      if (random.chance(0.1)) for (let n = 0; n < 20; n++) server.store();
      if (random.chance(0.2)) sent.push(room.send('mine'));
      for (let part = 0; part < 20; part++) {
        if (random.chance(server.faultRate * 0.03)) server.injectFault();
        await wait(50);
      }
    }
    for (const kind of ['enter', 'refresh', 'connect'] as const) {
      most[kind] = Math.max(most[kind], server.counts[kind] - before[kind]);
    }
  }
  server.faultRate = 0;
  await wait(60_000);
  server.store();
  await wait(40_000);
  return { server, room, seen, sent, most };
}

test('the room is online in the end, with every event once and in order, whatever fails', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const { server, room, seen, sent, most } = await runWithFaults(seed, ['receive-msg']);
    const label = `seed ${seed}`;
    expect(seen.ended, label).toEqual([]);
    expect(seen.statuses.at(-1), label).toBe('online');
    const first = server.events.findIndex(({ data }) => data.seq === seen.seqs[0]);
    if (seed % 3) expect(seen.seqs.length, label).toBeGreaterThan(100);
    expect(seen.seqs, label).toEqual(server.events.slice(first).map(({ data }) => data.seq));
    await expect(Promise.all(sent), label).resolves.toBeDefined();
    expect(server.events.filter(({ data }) => !data.id.startsWith('m')).length, label).toBe(server.stored.size);
    expect(server.emittedEarly, label).toEqual([]);
    expect(most.enter, label).toBeLessThan(50);
    expect(most.connect, label).toBeLessThan(50);
    expect(most.refresh, label).toBeLessThan(40);
    room.close();
  }
}, 120_000);

test('events of all types arrive once and in order; those read by HTTP are messages only', async () => {
  for (let seed = 1_001; seed <= 1_060; seed++) {
    const { server, room, seen } = await runWithFaults(seed, ['receive-msg', 'reaction', 'type-of-a-newer-server']);
    const label = `seed ${seed}`;
    expect(seen.ended, label).toEqual([]);
    expect(seen.statuses.at(-1), label).toBe('online');
    expect(seen.seqs, label).toEqual([...new Set(seen.seqs)].sort((a, b) => a - b));
    const received = new Set(seen.seqs);
    const after = server.events.filter(({ name, data }) => name === 'receive-msg' && data.seq >= seen.seqs[0]!);
    expect(
      after.filter(({ data }) => !received.has(data.seq)),
      label,
    ).toEqual([]);
    room.close();
  }
}, 120_000);

test('tokens are renewed before they expire, on the same socket', async () => {
  const server = serve(1, 4_000);
  const { seen, room } = open(server);
  await wait(60_000);
  expect(seen.statuses).toEqual(['connecting', 'online']);
  expect(server.counts.connect).toBe(1);
  expect(server.counts.refreshed).toBeGreaterThan(10);
  expect(server.counts.refresh).toBeLessThan(25);
  room.close();
  await wait(60_000);
  expect(vi.getTimerCount(), 'no timer is left after close').toBe(0);
});

test.each(['token-expired', 'token-invalid'])('%s leads to a new token and not to the end', async (code) => {
  const server = serve(2);
  const { seen } = open(server);
  await wait(2_000);
  await wait(20_000);
  const [socket] = server.sockets;
  socket!.deliver('session-expired', { code });
  socket!.lose();
  await wait(5_000);
  expect(seen.ended).toEqual([]);
  expect(seen.statuses).toEqual(['connecting', 'online', 'reconnecting', 'online']);
  expect(server.counts.refresh).toBe(1);
});

test.each([
  [403, 'banned'],
  [403, 'password-required'],
  [404, 'no-such-room'],
])('%i %s ends the room', async (status, code) => {
  const server = serve(3);
  server.override = () => problem(status, code);
  const { seen, opened } = open(server);
  await wait(60_000);
  expect(seen.ended).toEqual([code]);
  expect(server.counts.enter).toBe(1);
  await expect(opened).rejects.toMatchObject({ status, code });
});

test.each([
  [400, 'malformed-json'],
  [401, 'token-expired'],
  [403, 'unavailable'],
  [408, 'body-too-slow'],
  [409, 'conflict'],
  [422, 'invalid-value'],
  [429, 'too-many-attempts'],
  [500, 'internal'],
  [503, 'unavailable'],
])('%i %s for minutes does not end the room', async (status, code) => {
  const server = serve(4);
  server.override = (path) => (path === '/login/refresh' ? null : problem(status, code));
  const { seen } = open(server);
  await wait(5 * 60_000);
  expect(seen.statuses).toEqual(['connecting']);
  expect(server.counts.enter).toBeLessThan(100);
  server.override = null;
  await wait(30_000);
  expect(seen.statuses).toEqual(['connecting', 'online']);
});

test('the room waits as long as Retry-After says', async () => {
  const server = serve(5);
  server.override = () => problem(429, 'too-many-attempts', { 'retry-after': '100' });
  open(server);
  await wait(99_000);
  expect(server.counts.enter).toBe(1);
});

test('refused connections back off and do not renew the token', async () => {
  const server = serve(6);
  server.refusal = 'too-many-sockets';
  open(server);
  await wait(60_000);
  expect(server.counts.connect).toBeGreaterThan(5);
  expect(server.counts.connect).toBeLessThan(40);
  expect(server.counts.refresh).toBe(0);
});

test('a revoked session ends the room and the session', async () => {
  const server = serve(7);
  const { seen, store } = open(server);
  await wait(2_000);
  server.revoke();
  await wait(60_000);
  expect(seen.ended).toEqual(['session-revoked']);
  expect(seen.over).toEqual(['session']);
  expect(store.get()).toBeNull();
});

test.each([true, false])('a removed user sees the reason, banned: %s', async (banned) => {
  const server = serve(8);
  const { seen } = open(server);
  await wait(2_000);
  server.store('member-removed', { user: { id: 'me', name: 'Ada' }, by: 'x', banned });
  await wait(60_000);
  expect(seen.ended).toEqual([banned ? 'banned' : 'removed']);
  expect(server.sockets.size).toBe(0);
});

test('a ban is detected even if its event is lost', async () => {
  const server = serve(13);
  const { seen } = open(server);
  await wait(2_000);
  for (const socket of server.sockets) socket.isJoined = false;
  server.override = (path) => (path === '/room/lobby' ? problem(403, 'banned') : null);
  await wait(70_000);
  expect(seen.ended).toEqual(['banned']);
});

test('a deleted room ends and rejects waiting messages', async () => {
  const server = serve(9);
  const { seen, room } = open(server);
  await wait(2_000);
  for (const socket of server.sockets) socket.isJoined = false;
  server.store('room-deleted');
  const sent = room.send('late');
  const refused = expect(sent).rejects.toMatchObject({ code: 'room-deleted' });
  await wait(10_000);
  expect(seen.ended).toEqual(['room-deleted']);
  await refused;
});

test('migrating during a join joins the new socket and closes the old one', async () => {
  const server = serve(10);
  const { seen } = open(server);
  for (let waited = 0; !server.sockets.size && waited < 2_000; waited++) await wait(1);
  const [old] = server.sockets;
  old!.deliver('migrate', { deadline: '' });
  await wait(10_000);
  expect(old!.isOver).toBe(true);
  expect([...server.sockets].map(({ isJoined }) => isJoined)).toEqual([true]);
  expect(seen.statuses).toEqual(['connecting', 'online']);
});

test('messages sent before the room was entered wait and keep their order', async () => {
  const server = serve(12);
  const tries: [string, number][] = [];
  server.override = () => problem(503, 'unavailable');
  const { room } = open(server, undefined, { retrying: (...why) => void tries.push(why) });
  const sent = Promise.all([1, 2, 3].map((n) => room.send(`${n}`, { id: `id-${n}` })));
  await wait(60_000);
  expect(tries.length).toBeGreaterThan(5);
  expect(tries.every(([code, ms]) => code === 'unavailable' && ms <= 10_000)).toBe(true);
  server.override = null;
  await wait(20_000);
  const seqs = (await sent).map(({ seq }) => seq);
  expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
  expect(server.events.map(({ data }) => data.id)).toEqual(['id-1', 'id-2', 'id-3']);
});

test('a message refused as not-joined is sent again after another join', async () => {
  const server = serve(11);
  const { seen, room } = open(server);
  await wait(2_000);
  for (const socket of server.sockets) socket.isJoined = false;
  server.store();
  const sent = room.send('hello');
  await wait(5_000);
  expect(await sent).toMatchObject({ ok: true, duplicate: false });
  expect(seen.seqs).toEqual(server.events.map(({ data }) => data.seq));
});

test('nothing is emitted before the connection, and no message before the join is acknowledged', async () => {
  // Tokens are renewed while connections open.
  const server = serve(14, 3_000);
  const { room } = open(server);
  const sent = [room.send('before the room is entered')];
  for (let n = 0; n < 40; n++) {
    server.connectMs = n % 2 ? 2_900 : null;
    if (n % 4 === 0) [...server.sockets].forEach((socket) => socket.lose());
    await wait(1_300);
    sent.push(room.send(`${n}`));
  }
  server.connectMs = null;
  await wait(60_000);
  await expect(Promise.all(sent)).resolves.toHaveLength(41);
  expect(server.emittedEarly).toEqual([]);
  expect(server.counts.refreshed).toBeGreaterThan(0);
});
