// What the gateway says last, heard by the official client, unmodified: over long-polling alone, by its
// default transports before and during the change to WebSocket, and over WebSocket alone.
import assert from 'node:assert/strict';

const { BASE, GATEWAY, CLIENT } = process.env;
const { io } = await import(CLIENT);

async function call(method, path, token, body) {
  const response = await fetch(BASE + path, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

const account = { name: 'ada', password: 'correct horse' };
await call('POST', '/user', null, account);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Logs out `wait` ms after the socket has connected; what the client then hears, in order.
async function heard(transports, wait) {
  const { accessToken } = await call('POST', '/login', null, account);
  const socket = io(GATEWAY, { auth: { token: accessToken }, forceNew: true, ...(transports && { transports }) });
  const events = [];
  socket.on('session-expired', ({ code }) => events.push(code));
  const ended = new Promise((resolve) => {
    socket.on('disconnect', (reason) => {
      events.push(reason);
      resolve();
    });
  });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  await pause(wait);
  await call('POST', '/logout', accessToken, {});
  await ended;
  // What would come late comes within a poll's time.
  await pause(200);
  socket.close();
  return events;
}

const expected = ['session-revoked', 'io server disconnect'];
for (const transports of [['polling'], ['websocket']]) {
  assert.deepEqual(await heard(transports, 50), expected, transports);
}
// The change takes some ten milliseconds: the end comes before, in and after it.
for (let wait = 0; wait < 60; wait += 4) {
  assert.deepEqual(await heard(undefined, wait), expected, `${wait} ms after the connect`);
}
console.log('1 passed, 0 failed');
