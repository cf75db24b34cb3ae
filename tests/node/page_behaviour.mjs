// Regressions of the page: the scroll position, the width, and the notice at the end of a membership.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { api, BASE, finish, isIn, PASSWORD, person, say, sees } from './browser_user.mjs';

const bob = await person('bob', { viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light' });
const ada = await person('ada', { viewport: { width: 390, height: 844 }, locale: 'ko-KR', colorScheme: 'dark' });
const asAda = await api('ada');
const asBob = await api('bob');

async function roomOf(owner, name) {
  await owner.call('POST', '/room', { name });
  return `${BASE}/room/${encodeURIComponent(name)}`;
}
const post = (as, room, msg) => as.call('POST', `/room/${room}/message`, { id: randomUUID(), msg });

// --- invalid addresses ---
for (const path of ['/room/%', '/room/%E0%A4%A', '/room/%FF']) {
  await bob.page.goto(BASE + path);
  await bob.page.getByText('There is nothing here').waitFor();
}
for (const to of [
  '//x',
  '/\\evil.example',
  'javascript:alert(1)',
  'https://evil.example',
  '/.//evil.example',
  '/login',
]) {
  await bob.page.evaluate(() => localStorage.clear());
  await bob.page.goto(`${BASE}/login?to=${encodeURIComponent(to)}`);
  await bob.$('login-name').fill('bob');
  await bob.$('login-password').fill(PASSWORD);
  await bob.$('login-submit').click();
  await bob.page.waitForURL(`${BASE}/`);
}
assert.deepEqual(bob.crashes, []);

// --- after sending a message, the user can scroll up and the position stays ---
const scrolled = await roomOf(asAda, 'scrolled');
await asBob.call('GET', '/room/scrolled');
for (let n = 1; n <= 60; n++) await post(asAda, 'scrolled', `line ${n}\nof several\nlines`);
for (const who of [bob, ada]) {
  await who.page.goto(scrolled);
  await isIn(who, 'online');
  await sees(who, 'line 60');
  await say(who, `mine, ${who.name}`);
  await who.page.locator('article.mine:not(.pending)').first().waitFor();
  const list = who.$('messages');
  const fromEnd = () => list.evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight);
  assert.ok((await fromEnd()) < 60, 'at the end after sending');
  await list.hover();
  for (let n = 0; n < 5; n++) await who.page.mouse.wheel(0, -300);
  await who.page.waitForFunction(() => {
    const list = document.querySelector('[data-testid=messages]');
    return list.scrollHeight - list.scrollTop - list.clientHeight > 1_000;
  });
  await post(asAda, 'scrolled', `meanwhile for ${who.name}`);
  await who.page.getByText(`meanwhile for ${who.name}`).waitFor({ state: 'attached' });
  assert.ok((await fromEnd()) > 1_000, `${who.name} is still where they were`);
  await who.shot('scrolled-up');
  const first = await who.$('message-text').first().innerText();
  await list.evaluate((list) => list.scrollTo(0, 0));
  await who.page.getByText(/^line 1\s/).waitFor({ state: 'attached' });
  const distance = await list.evaluate((list, first) => {
    const line = [...list.querySelectorAll('[data-testid=message-text]')].find((line) => line.innerText === first);
    return line.getBoundingClientRect().top - list.getBoundingClientRect().top;
  }, first);
  assert.ok(distance >= 0 && distance < 200, `what was read stays in sight when older lines come: ${distance}`);
  await who.page.getByRole('button', { name: /^(↓|New messages|새 메시지)/ }).click();
  await who.page.waitForFunction(() => {
    const list = document.querySelector('[data-testid=messages]');
    return list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  });
}

// --- a long word stays inside the composer and the page ---
for (const who of [bob, ada]) {
  await who.$('message-input').fill(`https://example.com/${'a'.repeat(400)}`);
  const { page, send, width } = await who.page.evaluate(() => ({
    page: document.scrollingElement.scrollWidth,
    send: document.querySelector('[data-testid=message-send]').getBoundingClientRect().right,
    width: innerWidth,
  }));
  assert.ok(page <= width && send <= width, `${who.name}: the page is ${page} wide, Send ends at ${send}, of ${width}`);
  await who.page.waitForFunction(() => {
    const list = document.querySelector('[data-testid=messages]');
    return list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  });
  await who.shot('long-word');
  await who.$('message-send').click();
  await who.page.locator('article.mine', { hasText: 'aaaa' }).first().waitFor();
  const after = await who.page.evaluate(() => document.scrollingElement.scrollWidth);
  assert.ok(after <= width, 'nor does it widen the page as a message');
}

// --- media are shown without leaving the room ---
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const wav = Buffer.alloc(44 + 8_000);
wav.write('RIFF', 0);
wav.writeUInt32LE(36 + 8_000, 4);
wav.write('WAVEfmt ', 8);
wav.writeUInt32LE(16, 16);
wav.writeUInt16LE(1, 20);
wav.writeUInt16LE(1, 22);
wav.writeUInt32LE(8_000, 24);
wav.writeUInt32LE(8_000, 28);
wav.writeUInt16LE(1, 32);
wav.writeUInt16LE(8, 34);
wav.write('data', 36);
wav.writeUInt32LE(8_000, 40);
for (const [name, mimeType, buffer, element] of [
  ['pic.png', 'image/png', Buffer.from(PNG, 'base64'), 'img'],
  ['tone.wav', 'audio/wav', wav, 'audio'],
]) {
  await bob.$('file-input').setInputFiles({ name, mimeType, buffer });
  for (const who of [bob, ada]) {
    await who.$('file-download').filter({ hasText: name }).click();
    const viewer = who.$('file-viewer');
    await viewer.waitFor();
    await viewer.locator(element).waitFor();
    if (element === 'img') {
      await who.page.waitForFunction(() => document.querySelector('dialog img').naturalWidth > 0);
    } else {
      await who.page.waitForFunction(() => document.querySelector('dialog audio').readyState > 0);
    }
    assert.equal(await who.$('file-viewer-link').getAttribute('target'), '_blank');
    await who.shot(`viewer-${element}`);
    await who.page.keyboard.press('Escape');
    await viewer.waitFor({ state: 'detached' });
    assert.equal(who.page.url(), scrolled);
    await sees(who, 'mine');
  }
}

// --- a removed or banned user sees a notice and cannot write ---
for (const [name, query, text] of [
  ['removed', '', '이 대화방에서 내보내졌습니다.'],
  ['banned', '?ban=true', '이 대화방에 들어올 수 없도록 차단되었습니다.'],
]) {
  await ada.page.goto(await roomOf(asBob, `${name}-from`));
  await isIn(ada, 'online');
  await asBob.call('DELETE', `/room/${name}-from/member/${asAda.user.id}${query}`);
  await isIn(ada, 'ended');
  assert.equal(await ada.$('room-ended-notice').getAttribute('data-code'), name);
  await ada.page.getByText(text).waitFor();
  assert.equal(await ada.$('message-input').count(), 0);
  await ada.shot(name);
}
await ada.page.reload();
await ada.page.getByText('이 대화방에 들어올 수 없도록 차단되었습니다.').waitFor();

for (const who of [ada, bob]) assert.deepEqual(who.crashes, [], `${who.name}'s page`);
await finish();
