// The official client, unmodified: connect, join, send with acknowledgement, receive, reconnect.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

const { BASE, GATEWAY } = process.env;

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

async function person(name) {
  const account = { name, password: 'correct horse' };
  await call('POST', '/user', null, account);
  const { accessToken, user } = await call('POST', '/login', null, account);
  const socket = io(GATEWAY, { transports: ['websocket'], auth: { token: accessToken }, forceNew: true });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  const join = async (after) => {
    const { room, ticket } = await call('GET', '/room/lobby', accessToken);
    const data = { roomId: room.id, userId: user.id, ticket, ...(after !== undefined && { after }) };
    return { roomId: room.id, ...(await socket.timeout(5000).emitWithAck('join-room', data)) };
  };
  return { user, socket, accessToken, join };
}

const next = (socket, event) => new Promise((resolve) => socket.once(event, resolve));

const ada = await person('ada');
await call('POST', '/room', ada.accessToken, { name: 'lobby' });
const bob = await person('bob');
const { roomId } = await ada.join();
const joined = await bob.join();
assert.equal(joined.ok, true);
assert.equal(joined.online.count, 2);

const arrives = next(bob.socket, 'receive-msg');
const sent = await ada.socket.emitWithAck('send-msg', { roomId, msg: '안녕', id: crypto.randomUUID() });
assert.equal(sent.ok, true);
const received = await arrives;
assert.deepEqual([received.msg, received.seq, received.from.id], ['안녕', sent.seq, ada.user.id]);

const refused = await ada.socket.emitWithAck('send-msg', { roomId: 'x.>', msg: 'x' });
assert.deepEqual([refused.ok, refused.error.code], [false, 'bad-room-id']);
const binary = await ada.socket.emitWithAck('send-msg', { roomId, msg: Buffer.from('x') });
assert.equal(binary.error.code, 'unexpected-binary');

// The transport breaks; the client reconnects by itself and takes up where it was.
const back = next(bob.socket, 'connect');
bob.socket.io.engine.close();
await ada.socket.emitWithAck('send-msg', { roomId, msg: 'missed' });
await back;
const missed = next(bob.socket, 'receive-msg');
const again = await bob.join(received.seq);
assert.equal(again.recovered, true);
assert.equal((await missed).msg, 'missed');

const stranger = io(GATEWAY, { transports: ['websocket'], auth: { token: 'x' }, forceNew: true });
const error = await next(stranger, 'connect_error');
assert.equal(error.data.code, 'token-invalid');

for (const socket of [ada.socket, bob.socket, stranger]) socket.close();
console.log('1 passed, 0 failed');
