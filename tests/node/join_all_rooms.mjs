// The official client joins as many rooms as the limit allows at once, and sends as many other events as it allows.
import assert from 'node:assert/strict';

import { ask, call, connect, joinData, logIn, pass, signUp } from './socket_user.mjs';

const ROOMS = 50;
const OTHERS = 40;

await signUp('ada');
const { accessToken, user } = await logIn('ada');
const joins = [];
for (let n = 0; n < ROOMS; n++) {
  await call('POST', '/room', accessToken, { name: `room-${n}` });
  joins.push(await joinData(`room-${n}`, user, accessToken));
}
for (const transports of [['websocket'], ['polling']]) {
  const socket = await connect(accessToken, { transports });
  const { roomId } = joins[0];
  const answers = await Promise.all([
    ...joins.map((join) => ask(socket, 'join-room', join)),
    ...Array.from({ length: OTHERS }, (_, n) => ask(socket, 'typing', { roomId, on: n % 2 === 0 })),
  ]);
  const refused = answers.filter(({ ok }) => !ok);
  assert.deepEqual(refused, [], transports);
  // All rooms again, as after `lag` in all of them.
  const again = await Promise.all(joins.map((join) => ask(socket, 'join-room', join)));
  assert.deepEqual(
    again.filter(({ ok }) => !ok),
    [],
    transports,
  );
  socket.close();
}
pass();
