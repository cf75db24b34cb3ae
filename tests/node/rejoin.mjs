// The official client joins as many rooms as it may at once, and sends as many other events as it may.
import assert from 'node:assert/strict';

const { BASE, GATEWAY, CLIENT } = process.env;
const { io } = await import(CLIENT);
const ROOMS = 50;
const OTHERS = 40;

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
const { accessToken, user } = await call('POST', '/login', null, account);
const joins = [];
for (let n = 0; n < ROOMS; n++) {
  await call('POST', '/room', accessToken, { name: `room-${n}` });
  const { room, ticket } = await call('GET', `/room/room-${n}`, accessToken);
  joins.push({ roomId: room.id, userId: user.id, ticket });
}
for (const transports of [['websocket'], ['polling']]) {
  const socket = io(GATEWAY, { auth: { token: accessToken }, forceNew: true, transports });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  const ask = (event, data) => new Promise((resolve) => socket.emit(event, data, resolve));
  const { roomId } = joins[0];
  const answers = await Promise.all([
    ...joins.map((join) => ask('join-room', join)),
    ...Array.from({ length: OTHERS }, (_, n) => ask('typing', { roomId, on: n % 2 === 0 })),
  ]);
  const refused = answers.filter(({ ok }) => !ok);
  assert.deepEqual(refused, [], transports);
  // As after `lag` in all of them.
  const again = await Promise.all(joins.map((join) => ask('join-room', join)));
  assert.deepEqual(again.filter(({ ok }) => !ok), [], transports);
  socket.close();
}
console.log('1 passed, 0 failed');
