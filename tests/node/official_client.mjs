// Several versions of the official client, unmodified: connect with the default transports, with long polling and with
// WebSocket; join, send with acknowledgement, receive, reconnect.
import assert from 'node:assert/strict';

import { ask, call, connect, GATEWAY, io, joinData, logIn, next, pass, signUp } from './socket_user.mjs';

async function person(name, options) {
  await signUp(name);
  const { accessToken, user } = await logIn(name);
  const socket = await connect(accessToken, options);
  const join = async (after) => {
    const data = await joinData('lobby', user, accessToken, after);
    return { roomId: data.roomId, ...(await ask(socket, 'join-room', data)) };
  };
  return { user, socket, accessToken, join };
}

const ada = await person('ada');
await call('POST', '/room', ada.accessToken, { name: 'lobby' });
const bob = await person('bob', { transports: ['websocket'] });
const eve = await person('eve', { transports: ['polling'] });
const { roomId } = await ada.join();
const joined = await bob.join();
assert.equal(joined.ok, true);
assert.equal(joined.online.count, 2);
assert.equal((await eve.join()).online.count, 3);

const arrives = next(bob.socket, 'receive-msg');
const arrivesToo = next(eve.socket, 'receive-msg');
const sent = await ask(ada.socket, 'send-msg', { roomId, msg: '안녕', id: crypto.randomUUID() });
assert.equal(sent.ok, true);
const received = await arrives;
assert.deepEqual([received.msg, received.seq, received.from.id], ['안녕', sent.seq, ada.user.id]);
assert.deepEqual(await arrivesToo, received);

// Over long polling in both directions, while events arrive.
const heard = [];
bob.socket.on('receive-msg', ({ msg }) => heard.push(msg));
for (let n = 0; n < 20; n++) {
  const answer = await ask(eve.socket, 'send-msg', { roomId, msg: `${n}` });
  assert.equal(answer.ok, true);
}
while (heard.length < 20) await next(bob.socket, 'receive-msg');
assert.deepEqual(
  heard,
  Array.from({ length: 20 }, (_, n) => `${n}`),
);
assert.equal(eve.socket.io.engine.transport.name, 'polling');

// By default a client begins with long polling and upgrades.
while (ada.socket.io.engine.transport.name !== 'websocket') await next(ada.socket.io.engine, 'upgrade');

const refused = await ask(ada.socket, 'send-msg', { roomId: 'x.>', msg: 'x' });
assert.deepEqual([refused.ok, refused.error.code], [false, 'bad-room-id']);
const binary = await ask(ada.socket, 'send-msg', { roomId, msg: Buffer.from('x') });
assert.equal(binary.error.code, 'unexpected-binary');

// The transport breaks; the client reconnects by itself and continues where it was.
const back = next(bob.socket, 'connect');
bob.socket.io.engine.close();
const late = await ask(ada.socket, 'send-msg', { roomId, msg: 'missed' });
await back;
const missed = next(bob.socket, 'receive-msg');
const again = await bob.join(late.seq - 1);
assert.equal(again.recovered, true);
assert.equal((await missed).msg, 'missed');

const stranger = io(GATEWAY, { auth: { token: 'x' }, forceNew: true });
const error = await next(stranger, 'connect_error');
assert.equal(error.data.code, 'token-invalid');

for (const socket of [ada.socket, bob.socket, eve.socket, stranger]) socket.close();
pass();
