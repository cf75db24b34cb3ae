// Tokens that expire after a few seconds: the page renews them on the same socket, and in two tabs that share a session
// without the Web Locks API, as on plain HTTP.
import assert from 'node:assert/strict';

import { api, BASE, finish, isIn, person, say, sees } from './browser_user.mjs';

const LIFETIMES = 3;
const seconds = Number(process.env.ACCESS_TOKEN_SECONDS);
assert.ok(seconds > 0, 'ACCESS_TOKEN_SECONDS is what the server was started with');

const ada = await person('ada', { viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light' });
const asAda = await api('ada');
await asAda.call('POST', '/room', { name: 'lobby' });
await ada.context.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
const twin = await ada.context.newPage();
const sockets = [];
ada.page.on('websocket', (socket) => sockets.push(socket));
const refreshes = [];
ada.context.on(
  'response',
  (response) => response.url().endsWith('/login/refresh') && refreshes.push(response.status()),
);
await ada.page.goto(`${BASE}/room/lobby`);
await isIn(ada, 'online');
assert.equal(await ada.page.evaluate(() => navigator.locks), undefined);
await twin.goto(`${BASE}/room/lobby`);
await isIn({ page: twin }, 'online');
const states = await ada.page.evaluateHandle(() => {
  const seen = [];
  const state = document.querySelector('[data-testid=connection-state]');
  new MutationObserver(() => seen.push(state.dataset.state)).observe(state, {
    attributes: true,
    attributeFilter: ['data-state'],
  });
  return seen;
});
const until = Date.now() + LIFETIMES * seconds * 1000;
for (let n = 1; Date.now() < until; n++) {
  await say(ada, `message ${n}`);
  await sees(ada, `message ${n}`);
  await ada.page.waitForTimeout(1000);
}
await ada.page.waitForFunction(() => document.querySelectorAll('article.mine.pending').length === 0);
assert.ok(refreshes.length >= LIFETIMES - 1 && refreshes.every((status) => status === 200), `${refreshes}`);
assert.ok(refreshes.length <= LIFETIMES * 4, `no more renewals than needed: ${refreshes.length}`);
assert.deepEqual(await states.jsonValue(), [], 'it was online all the time');
assert.equal(sockets.length, 1, 'on one socket');
await isIn({ page: twin }, 'online');
assert.equal(twin.url(), `${BASE}/room/lobby`, 'the other tab was not logged out');
await twin.close();

// The renewal fails until the token is over: the room comes back with a new one.
let refused = 0;
await ada.page.route('**/login/refresh', (route) => {
  if (refused >= 4) return route.fallback();
  refused++;
  return route.fulfill({
    status: 503,
    headers: { 'retry-after': '1' },
    contentType: 'application/problem+json',
    body: '{"code":"unavailable","detail":"away"}',
  });
});
await ada.page.waitForFunction((seen) => seen.includes('reconnecting') && seen.at(-1) === 'online', states, {
  timeout: 60_000,
});
await say(ada, 'still here');
await ada.page.locator('article.mine:not(.pending)', { hasText: 'still here' }).waitFor();
await ada.shot('lifetimes');

// Another tab logs out: this tab shows the login page.
const other = await ada.context.newPage();
await other.goto(BASE);
await other.getByTestId('logout').click();
await ada.page.waitForURL(`${BASE}/login**`);

assert.deepEqual(ada.crashes, []);
await finish();
