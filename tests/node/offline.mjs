// The network is down, the server refuses for a while, or a page of history is lost: the room recovers by itself.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { api, BASE, finish, isIn, person, say, sees } from './browser_user.mjs';

const ada = await person('ada', { viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light' });
const asAda = await api('ada');
await asAda.call('POST', '/room', { name: 'lobby' });
for (let n = 1; n <= 120; n++) await asAda.call('POST', '/room/lobby/message', { id: randomUUID(), msg: `line ${n}` });

// --- the room is entered without a network ---
await ada.page.goto(BASE);
const toLobby = ada.page.getByRole('link', { name: 'lobby' });
await toLobby.waitFor();
await ada.context.setOffline(true);
const failed = ada.page.waitForEvent('requestfailed', (request) => request.url().endsWith('/room/lobby'));
await toLobby.click();
await failed;
await isIn(ada, 'connecting');
await ada.shot('away');
await ada.context.setOffline(false);
await isIn(ada, 'online', 30_000);
await sees(ada, 'line 120');
assert.equal(await ada.$('error').count(), 0);

// --- the functions refuse for a while ---
const refusals = [429, 503, 500, 408, 502];
await ada.page.route(/\/room\/lobby$/, (route) => {
  const status = refusals.shift();
  if (!status || route.request().isNavigationRequest()) return route.fallback();
  return route.fulfill({
    status,
    contentType: 'application/problem+json',
    body: JSON.stringify({ code: 'busy', detail: 'busy', status }),
  });
});
let lostPages = 2;
await ada.page.route(/\/room\/lobby\/message/, (route) => (lostPages-- > 0 ? route.abort() : route.fallback()));
await ada.page.reload();
await isIn(ada, 'online', 60_000);
await sees(ada, 'line 120');
assert.deepEqual([refusals.length, lostPages < 0], [0, true]);

// --- an older page of history fails once and is loaded again ---
lostPages = 1;
await ada.$('messages').evaluate((list) => list.scrollTo(0, 0));
await ada.page.getByText('line 30', { exact: true }).waitFor({ state: 'attached', timeout: 30_000 });
await ada.page.waitForFunction(() => {
  document.querySelector('[data-testid=messages]').scrollTo(0, 0);
  return [...document.querySelectorAll('[data-testid=message-text]')].some((line) => line.textContent === 'line 1');
});
const lines = (await ada.$('message-text').allInnerTexts()).filter((text) => text.startsWith('line'));
assert.deepEqual(
  lines,
  Array.from({ length: 120 }, (_, n) => `line ${n + 1}`),
);

// --- disconnected in the room: messages that are written meanwhile arrive once and in order ---
await ada.context.setOffline(true);
await isIn(ada, 'reconnecting', 60_000).catch(() => {});
for (let n = 1; n <= 3; n++) await say(ada, `while away ${n}`);
await ada.context.setOffline(false);
await isIn(ada, 'online', 60_000);
await ada.page.waitForFunction(() => document.querySelectorAll('article.mine.pending').length === 0, null, {
  timeout: 60_000,
});
const page = await (await asAda.call('GET', '/room/lobby/message?limit=3')).json();
assert.deepEqual(
  page.items.map(({ msg }) => msg),
  ['while away 1', 'while away 2', 'while away 3'],
);

assert.deepEqual(ada.crashes, []);
await finish();
