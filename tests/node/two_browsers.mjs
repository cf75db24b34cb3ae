// Two users in two browser profiles: sign up, create a room, chat, send a file, delete the room.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { BASE, finish, person, say, sees } from './browser_user.mjs';

const ada = await person('ada', { viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light' });
const bob = await person('bob', {
  viewport: { width: 375, height: 812 },
  locale: 'ko-KR',
  colorScheme: 'dark',
  deviceScaleFactor: 2,
});

await ada.page.goto(`${BASE}/new-room`);
await ada.shot('new-room');
await ada.$('room-name').fill('모임');
await ada.$('room-create').click();
await ada.page.waitForURL(`${BASE}/room/**`);
await bob.page.goto(`${BASE}/`);
await bob.page.getByText('모임').first().click();
await bob.page.waitForURL(`${BASE}/room/**`);

for (const who of [ada, bob]) {
  await who.page.locator('[data-testid=connection-state][data-state=online]').waitFor({ state: 'attached' });
  await who.page.getByTestId('online-count').filter({ hasText: '2' }).waitFor();
}
assert.deepEqual(
  await ada
    .$('online-user')
    .allInnerTexts()
    .then((all) => all.map((text) => text.split('·')[0].trim())),
  ['ada', 'bob'],
);

await say(ada, 'Hello Bob! The minutes of yesterday’s meeting are coming in a moment.');
await sees(bob, 'Hello Bob!');
await say(
  bob,
  '안녕하세요! 어제 회의록 잘 받을게요. 그런데 혹시 지난주 것도 함께 보내 주실 수 있을까요? 주말에 천천히 읽어 보려고 합니다.',
);
await sees(ada, '회의록');
await say(bob, '급하지 않아요 🙂');
await sees(ada, '급하지');

const content = Buffer.alloc(3 * 1024 * 1024, '회의록\n');
const progress = ada.$('file-progress').waitFor({ state: 'attached' });
await ada.$('file-input').setInputFiles({ name: '회의록 11월.txt', mimeType: 'text/plain', buffer: content });
await progress;
await bob.$('file-download').waitFor();
const downloading = bob.page.waitForEvent('download');
await bob.$('file-download').click();
const download = await downloading;
assert.equal(download.suggestedFilename(), '회의록 11월.txt');
assert.ok(content.equals(await readFile(await download.path())), 'the same bytes');
await ada.shot('room');
await bob.shot('room');

// The history is still there after a reload.
await bob.page.reload();
await sees(bob, 'Hello Bob!');
await bob.page.locator('[data-testid=connection-state][data-state=online]').waitFor({ state: 'attached' });

for (const [who, scheme] of [
  [ada, 'dark'],
  [bob, 'light'],
]) {
  await who.page.emulateMedia({ colorScheme: scheme });
  await who.shot(`room-${scheme}`);
}
assert.equal(await bob.$('room-delete').count(), 0, 'only the creator deletes');
await ada.$('room-delete').click();
await ada.shot('delete');
await ada.$('room-delete-confirm').click();
for (const who of [ada, bob]) await who.$('room-deleted-notice').waitFor();
await bob.shot('deleted');
await ada.page.goto(`${BASE}/`);
await ada.page.getByText('No rooms yet').waitFor();
await ada.shot('home');
await ada.$('logout').click();
await ada.page.waitForURL(`${BASE}/login`);
await ada.shot('login');

for (const who of [ada, bob]) assert.deepEqual([...who.faults, ...who.crashes], [], `${who.name}'s console`);
await finish();
