import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Api } from '../src/index.ts';
import { delay, FakeServer, problem } from './fake-server.ts';
import { memoryStore, wait } from './open-room.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function serve(lifetimeMs = 900_000, seed = 1) {
  const server = new FakeServer(seed, lifetimeMs);
  vi.stubGlobal('fetch', server.fetch);
  vi.spyOn(Math, 'random').mockImplementation(() => server.random.unit());
  const store = memoryStore();
  const ends: number[] = [];
  const instance = (id: number) => new Api({ base: 'http://fake', store, onSessionEnd: () => ends.push(id) });
  const first = instance(0);
  first.session.start(server.tokens());
  return { server, store, ends, instance, first };
}

test('many instances with the same store renew once, without browser locks', async () => {
  const { server, ends, instance } = serve();
  const all = Array.from({ length: 8 }, (_, id) => instance(id + 1));
  await wait(890_000);
  const tokens = Promise.all(all.map(({ session }) => session.token()));
  await wait(30_000);
  expect(new Set(await tokens).size).toBe(1);
  expect(server.counts.refresh).toBe(1);
  expect(ends).toEqual([]);
});

test('two instances that need a new token at the same time share one renewal', async () => {
  const { server, ends, first, instance } = serve();
  const tokens = Promise.all([first.session.token(true), instance(1).session.token(true)]);
  await wait(5_000);
  expect(await tokens).toEqual(['t2', 't2']);
  expect(server.counts.refresh).toBe(1);
  expect(ends).toEqual([]);
});

test('a renewal is repeated if its response is lost', async () => {
  const { server, ends, first } = serve();
  await wait(890_000);
  let sent = 0;
  vi.stubGlobal('fetch', async (...call: Parameters<typeof server.fetch>) => {
    const answer = await server.fetch(...call);
    if (++sent === 1) throw new TypeError('lost');
    return answer;
  });
  const token = first.session.token();
  await wait(5_000);
  expect(await token).toBe('t3');
  expect(ends).toEqual([]);
});

test('a token is not renewed before it is due', async () => {
  const { server, first } = serve();
  for (let n = 0; n < 80; n++) {
    await wait(10_000);
    await first.session.token();
  }
  expect(server.counts.refresh).toBe(0);
});

test('a refused renewal ends the session for all instances', async () => {
  const { server, store, ends, first, instance } = serve();
  const second = instance(1);
  await wait(890_000);
  server.override = () => problem(401, 'refresh-reused');
  const tokens = Promise.allSettled([first.session.token(), second.session.token()]);
  await wait(30_000);
  expect((await tokens).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(store.get()).toBeNull();
  expect(ends).toHaveLength(1);
});

test('logging out during a renewal is final', async () => {
  const { server, store, first } = serve();
  vi.stubGlobal('fetch', async (...call: Parameters<typeof server.fetch>) => {
    await delay(1_000);
    return server.fetch(...call);
  });
  await wait(890_000);
  const token = first.session.token();
  token.catch(() => {});
  await wait(500);
  first.session.end();
  await wait(30_000);
  await expect(token).rejects.toMatchObject({ status: 401 });
  expect(store.get()).toBeNull();
});

test('an API call after a change of signing keys renews the token once and succeeds', async () => {
  const { server, first } = serve();
  const real = server.fetch;
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    const isOld = new Headers(init.headers).get('authorization') === 'Bearer t1';
    return isOld ? problem(401, 'token-invalid') : real(url, init);
  });
  await wait(20_000);
  const entered = first.enter('lobby');
  await wait(5_000);
  expect((await entered).room.id).toBe('room');
  expect(server.counts.refresh).toBe(1);
});

test('a token that expired while the clock was set back is renewed', async () => {
  const { server, first } = serve();
  const real = server.fetch;
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    const isOld = new Headers(init.headers).get('authorization') === 'Bearer t1';
    return isOld ? problem(401, 'token-expired') : real(url, init);
  });
  vi.setSystemTime(Date.now() - 3_600_000);
  const entered = first.enter('lobby');
  await wait(5_000);
  expect((await entered).room.id).toBe('room');
});

test('the session continues whatever is lost between many instances and the server', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    vi.clearAllTimers();
    const { server, store, ends, instance } = serve(20_000, seed);
    const all = Array.from({ length: 4 }, (_, id) => instance(id));
    const unwatch = all.map(({ session }) => session.watch({ renewed() {}, ended() {} }));
    server.faultRate = 0.4;
    const tokens: Promise<unknown>[] = [];
    for (let n = 0; n < 300; n++) {
      if (server.random.chance(0.3)) {
        tokens.push(
          server.random
            .pick(all)
            .session.token()
            .catch(({ status }) => expect(status).not.toBe(401)),
        );
      }
      await wait(1_000);
    }
    server.faultRate = 0;
    await wait(30_000);
    await Promise.all(tokens);
    expect([ends, store.get() !== null], `seed ${seed}`).toEqual([[], true]);
    await Promise.all(all.map(async ({ session }) => expect(await session.token()).toMatch(/^t\d+$/)));
    unwatch.forEach((stop) => stop());
  }
}, 60_000);
