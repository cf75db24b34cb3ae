import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { FakeServer, problem } from './fake-server.ts';
import { open, wait } from './world.ts';

let server: FakeServer;
vi.mock('socket.io-client', () => ({ io: (_: string, options: never) => server.connect(options) }));

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function serve(seed: number, lifetimeMs?: number): FakeServer {
  // Nothing of an earlier run reaches this one.
  vi.clearAllTimers();
  server = new FakeServer(seed, lifetimeMs);
  vi.stubGlobal('fetch', server.fetch);
  // So that a seed repeats a run in all its waits.
  vi.spyOn(Math, 'random').mockImplementation(() => server.random.unit());
  return server;
}

/** Trouble of all kinds for a minute or two, then none. */
async function stormy(seed: number, kinds: string[]) {
  const server = serve(seed, 20_000 + (seed % 5) * 20_000);
  const { random } = server;
  server.store();
  const { room, told } = open(server);
  const sent: Promise<unknown>[] = [];
  if (seed % 3) await wait(5_000);
  server.trouble = random.pick([0.05, 0.2, 0.5, 0.9]);
  const most = { enter: 0, refresh: 0, connect: 0 };
  for (let minute = 0; minute < 2; minute++) {
    const before = { ...server.counts };
    for (let second = 0; second < 60; second++) {
      for (let n = random.below(4); n > 0; n--) server.store(random.pick(kinds));
      if (random.is(0.1)) for (let n = 0; n < 20; n++) server.store();
      if (random.is(0.2)) sent.push(room.send('mine'));
      for (let part = 0; part < 20; part++) {
        if (random.is(server.trouble * 0.03)) server.disturb();
        await wait(50);
      }
    }
    for (const kind of ['enter', 'refresh', 'connect'] as const) {
      most[kind] = Math.max(most[kind], server.counts[kind] - before[kind]);
    }
  }
  server.trouble = 0;
  await wait(60_000);
  server.store();
  await wait(40_000);
  return { server, room, told, sent, most };
}

test('whatever fails, the room ends up online, with every event once and in order', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const { server, room, told, sent, most } = await stormy(seed, ['receive-msg']);
    const what = `seed ${seed}`;
    expect(told.ended, what).toEqual([]);
    expect(told.statuses.at(-1), what).toBe('online');
    const first = server.events.findIndex(({ data }) => data.seq === told.seqs[0]);
    if (seed % 3) expect(told.seqs.length, what).toBeGreaterThan(100);
    expect(told.seqs, what).toEqual(server.events.slice(first).map(({ data }) => data.seq));
    await expect(Promise.all(sent), what).resolves.toBeDefined();
    expect(server.events.filter(({ data }) => !data.id.startsWith('m')).length, what).toBe(server.stored.size);
    expect(most.enter, what).toBeLessThan(50);
    expect(most.connect, what).toBeLessThan(50);
    expect(most.refresh, what).toBeLessThan(40);
    room.close();
  }
}, 120_000);

test('events of any kind come in order and once; only by HTTP just messages do', async () => {
  for (let seed = 1_001; seed <= 1_060; seed++) {
    const { server, room, told } = await stormy(seed, ['receive-msg', 'reaction', 'kind-of-a-newer-server']);
    const what = `seed ${seed}`;
    expect(told.ended, what).toEqual([]);
    expect(told.statuses.at(-1), what).toBe('online');
    expect(told.seqs, what).toEqual([...new Set(told.seqs)].sort((a, b) => a - b));
    const heard = new Set(told.seqs);
    const after = server.events.filter(({ name, data }) => name === 'receive-msg' && data.seq >= told.seqs[0]!);
    expect(
      after.filter(({ data }) => !heard.has(data.seq)),
      what,
    ).toEqual([]);
    room.close();
  }
}, 120_000);

test('a room outlives its tokens: they are renewed ahead of time, on the same socket', async () => {
  const server = serve(1, 4_000);
  const { told, room } = open(server);
  await wait(60_000);
  expect(told.statuses).toEqual(['connecting', 'online']);
  expect(server.counts.connect).toBe(1);
  expect(server.counts.refreshed).toBeGreaterThan(10);
  expect(server.counts.refresh).toBeLessThan(25);
  room.close();
  await wait(60_000);
  expect(vi.getTimerCount(), 'nothing goes on after it is closed').toBe(0);
});

test.each(['token-expired', 'token-invalid'])('%s is a reason for a new token, not the end', async (code) => {
  const server = serve(2);
  const { told } = open(server);
  await wait(2_000);
  await wait(20_000);
  const [socket] = server.sockets;
  socket!.deliver('session-expired', { code });
  socket!.lose();
  await wait(5_000);
  expect(told.ended).toEqual([]);
  expect(told.statuses).toEqual(['connecting', 'online', 'reconnecting', 'online']);
  expect(server.counts.refresh).toBe(1);
});

test.each([
  [403, 'banned'],
  [403, 'password-required'],
  [404, 'no-such-room'],
])('%i %s ends the room', async (status, code) => {
  const server = serve(3);
  server.always = () => problem(status, code);
  const { told, opened } = open(server);
  await wait(60_000);
  expect(told.ended).toEqual([code]);
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
])('%i %s for minutes ends nothing', async (status, code) => {
  const server = serve(4);
  server.always = (path) => (path === '/login/refresh' ? null : problem(status, code));
  const { told } = open(server);
  await wait(5 * 60_000);
  expect(told.statuses).toEqual(['connecting']);
  expect(server.counts.enter).toBeLessThan(100);
  server.always = null;
  await wait(30_000);
  expect(told.statuses).toEqual(['connecting', 'online']);
});

test('Retry-After is waited for', async () => {
  const server = serve(5);
  server.always = () => problem(429, 'too-many-attempts', { 'retry-after': '100' });
  open(server);
  await wait(99_000);
  expect(server.counts.enter).toBe(1);
});

test('a refused connection slows down and takes no new token for it', async () => {
  const server = serve(6);
  server.refuse = 'too-many-sockets';
  open(server);
  await wait(60_000);
  expect(server.counts.connect).toBeGreaterThan(5);
  expect(server.counts.connect).toBeLessThan(40);
  expect(server.counts.refresh).toBe(0);
});

test('a revoked session ends the room and the session', async () => {
  const server = serve(7);
  const { told, store } = open(server);
  await wait(2_000);
  server.revoke();
  await wait(60_000);
  expect(told.ended).toEqual(['session-revoked']);
  expect(told.over).toEqual(['session']);
  expect(store.get()).toBeNull();
});

test.each([true, false])('whoever is removed is told so, banned: %s', async (banned) => {
  const server = serve(8);
  const { told } = open(server);
  await wait(2_000);
  server.store('member-removed', { user: { id: 'me', name: 'Ada' }, by: 'x', banned });
  await wait(60_000);
  expect(told.ended).toEqual([banned ? 'banned' : 'removed']);
  expect(server.sockets.size).toBe(0);
});

test('a ban is noticed though its event never comes', async () => {
  const server = serve(13);
  const { told } = open(server);
  await wait(2_000);
  for (const socket of server.sockets) socket.isJoined = false;
  server.always = (path) => (path === '/room/lobby' ? problem(403, 'banned') : null);
  await wait(70_000);
  expect(told.ended).toEqual(['banned']);
});

test('a deleted room ends, and what waits to be sent is refused', async () => {
  const server = serve(9);
  const { told, room } = open(server);
  await wait(2_000);
  for (const socket of server.sockets) socket.isJoined = false;
  server.store('room-deleted');
  const sent = room.send('late');
  const refused = expect(sent).rejects.toMatchObject({ code: 'room-deleted' });
  await wait(10_000);
  expect(told.ended).toEqual(['room-deleted']);
  await refused;
});

test('migrating during a join joins the new socket and closes the old one', async () => {
  const server = serve(10);
  const { told } = open(server);
  for (let waited = 0; !server.sockets.size && waited < 2_000; waited++) await wait(1);
  const [old] = server.sockets;
  old!.deliver('migrate', { deadline: '' });
  await wait(10_000);
  expect(old!.isOver).toBe(true);
  expect([...server.sockets].map(({ isJoined }) => isJoined)).toEqual([true]);
  expect(told.statuses).toEqual(['connecting', 'online']);
});

test('what is sent before the room was entered waits, in its order', async () => {
  const server = serve(12);
  const tries: [string, number][] = [];
  server.always = () => problem(503, 'unavailable');
  const { room } = open(server, undefined, { retrying: (...why) => void tries.push(why) });
  const sent = Promise.all([1, 2, 3].map((n) => room.send(`${n}`, { id: `id-${n}` })));
  await wait(60_000);
  expect(tries.length).toBeGreaterThan(5);
  expect(tries.every(([code, ms]) => code === 'unavailable' && ms <= 10_000)).toBe(true);
  server.always = null;
  await wait(20_000);
  const seqs = (await sent).map(({ seq }) => seq);
  expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
  expect(server.events.map(({ data }) => data.id)).toEqual(['id-1', 'id-2', 'id-3']);
});

test('a gateway that does not know of the join is joined again before the message is sent', async () => {
  const server = serve(11);
  const { told, room } = open(server);
  await wait(2_000);
  for (const socket of server.sockets) socket.isJoined = false;
  server.store();
  const sent = room.send('hello');
  await wait(5_000);
  expect(await sent).toMatchObject({ ok: true, duplicate: false });
  expect(told.seqs).toEqual(server.events.map(({ data }) => data.seq));
});
