// What the official client does by itself: it sends what was emitted offline before its `connect` handlers run, it
// writes binary as base64 with `forceBase64`, and it can offer subprotocols and headers.
import assert from 'node:assert/strict';

import { ask, call, connect, joinData, logIn, next, pass, signUp } from './socket_user.mjs';

await signUp('ada');
const { accessToken, user } = await logIn('ada');
await call('POST', '/room', accessToken, { name: 'lobby' });

// Binary as base64 is refused as binary is, and the socket stays open.
for (const options of [
  { transports: ['websocket'], forceBase64: true },
  { transports: ['websocket'] },
  { transports: ['polling'] },
  { transports: ['websocket'], protocols: ['chat', 'other'], extraHeaders: { 'x-tenant': 'a' } },
]) {
  const socket = await connect(accessToken, options);
  const { roomId } = await joinData('lobby', user, accessToken);
  const binary = await ask(socket, 'send-msg', { roomId, msg: Buffer.from([1, 2, 3]), more: [Buffer.from('x')] });
  assert.equal(binary.error.code, 'unexpected-binary', JSON.stringify(options));
  assert.equal((await ask(socket, 'join-room', await joinData('lobby', user, accessToken))).ok, true);
  assert.equal(socket.connected, true);
  socket.close();
}

// As README.md shows: messages wait in the application until the join is acknowledged. Emitted while offline, they
// would be refused, because the client sends them before it joins.
for (const transports of [['websocket'], ['polling']]) {
  const socket = await connect(accessToken, { transports });
  const queue = [];
  const sent = [];
  let [last, joined, isSending, rejoined] = [undefined, false, false, undefined];
  const send = async () => {
    if (isSending) return;
    isSending = true;
    while (joined && queue.length > 0) {
      const answer = await ask(socket, 'send-msg', queue[0]);
      if (!answer.ok) break;
      sent.push(answer);
      queue.shift();
    }
    isSending = false;
  };
  const join = async () => {
    joined = (await ask(socket, 'join-room', await joinData('lobby', user, accessToken, last))).ok;
    await send();
  };
  socket.on('connect', () => (rejoined = join())).on('disconnect', () => (joined = false));
  socket.on('receive-msg', ({ seq }) => (last = seq));
  await join();
  const { room } = await call('GET', '/room/lobby', accessToken);
  const back = next(socket, 'connect');
  socket.io.engine.close();
  assert.equal(socket.connected, false);
  // The wrong way, for comparison.
  const early = ask(socket, 'send-msg', { roomId: room.id, msg: 'too early' });
  for (let n = 0; n < 3; n++) queue.push({ roomId: room.id, msg: `${n}`, id: crypto.randomUUID() });
  await send();
  await back;
  assert.equal((await early).error.code, 'not-joined');
  await rejoined;
  assert.deepEqual(
    sent.map(({ duplicate }) => duplicate),
    [false, false, false],
  );
  socket.close();
}
pass();
