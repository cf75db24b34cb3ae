// The server is killed and started again. This script requests each step from the test with a file in SIGNALS.
import assert from 'node:assert/strict';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { api, BASE, finish, isIn, person, say, sees } from './browser_user.mjs';

/** Requests a step and waits until the test has done it. */
async function ask(what) {
  await writeFile(join(process.env.SIGNALS, what), '');
  for (const until = Date.now() + 60_000; Date.now() < until;) {
    if (
      await access(join(process.env.SIGNALS, `${what}-done`)).then(
        () => true,
        () => false,
      )
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} was not done`);
}

const ada = await person('ada', { viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light' });
const asAda = await api('ada');
await asAda.call('POST', '/room', { name: 'lobby' });
await asAda.call('POST', '/room', { name: 'other' });
for (let n = 1; n <= 3; n++) {
  await asAda.call('POST', '/room/lobby/message', { id: crypto.randomUUID(), msg: `before ${n}` });
}

// --- a room is entered while the server is down ---
await ada.page.goto(BASE);
const toLobby = ada.page.getByRole('link', { name: 'lobby' });
await toLobby.waitFor();
await ask('stop-1');
await toLobby.click();
await ada.page.getByText('No answer from the server').waitFor();
await say(ada, 'written while away');
await ada.shot('no-answer');
await ask('start-1');
await isIn(ada, 'online', 60_000);
await sees(ada, 'before 3');
await ada.page.locator('article.mine:not(.pending)', { hasText: 'written while away' }).waitFor();

// --- the server goes down while the user is in the room ---
await ask('stop-2');
await isIn(ada, 'reconnecting');
for (let n = 1; n <= 3; n++) await say(ada, `meanwhile ${n}`);
await ask('start-2');
await isIn(ada, 'online', 60_000);
await ada.page.waitForFunction(() => document.querySelectorAll('article.mine.pending').length === 0, null, {
  timeout: 60_000,
});
const shown = await ada.$('message-text').allInnerTexts();
const { items } = await (await asAda.call('GET', '/room/lobby/message')).json();
const expected = [
  'before 1',
  'before 2',
  'before 3',
  'written while away',
  'meanwhile 1',
  'meanwhile 2',
  'meanwhile 3',
];
assert.deepEqual(
  items.map(({ msg }) => msg),
  expected,
  'stored once and in order',
);
assert.deepEqual(shown, expected, 'and shown so');

assert.deepEqual(ada.crashes, []);
await finish();
