// The official client, unmodified and of several versions: connect by its default transports, over
// long-polling alone and over WebSocket alone; join, send with acknowledgement, receive, reconnect.
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

// Clients of 4.0 have no emitWithAck.
const ask = (socket, event, data) => new Promise((resolve) => socket.emit(event, data, resolve));

async function person(name, options) {
  const account = { name, password: 'correct horse' };
  await call('POST', '/user', null, account);
  const { accessToken, user } = await call('POST', '/login', null, account);
  const socket = io(GATEWAY, { auth: { token: accessToken }, forceNew: true, ...options });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  const join = async (after) => {
    const { room, ticket } = await call('GET', '/room/lobby', accessToken);
    const data = { roomId: room.id, userId: user.id, ticket, ...(after !== undefined && { after }) };
    return { roomId: room.id, ...(await ask(socket, 'join-room', data)) };
  };
  return { user, socket, accessToken, join };
}

const next = (socket, event) => new Promise((resolve) => socket.once(event, resolve));

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

// Over long-polling alone, both ways, while events come.
const heard = [];
bob.socket.on('receive-msg', ({ msg }) => heard.push(msg));
for (let n = 0; n < 20; n++) {
  const answer = await ask(eve.socket, 'send-msg', { roomId, msg: `${n}` });
  assert.equal(answer.ok, true);
}
while (heard.length < 20) await next(bob.socket, 'receive-msg');
assert.deepEqual(heard, Array.from({ length: 20 }, (_, n) => `${n}`));
assert.equal(eve.socket.io.engine.transport.name, 'polling');

// By default a client begins with long-polling and changes.
while (ada.socket.io.engine.transport.name !== 'websocket') await next(ada.socket.io.engine, 'upgrade');

const refused = await ask(ada.socket, 'send-msg', { roomId: 'x.>', msg: 'x' });
assert.deepEqual([refused.ok, refused.error.code], [false, 'bad-room-id']);
const binary = await ask(ada.socket, 'send-msg', { roomId, msg: Buffer.from('x') });
assert.equal(binary.error.code, 'unexpected-binary');

// The transport breaks; the client reconnects by itself and takes up where it was.
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
console.log('1 passed, 0 failed');
