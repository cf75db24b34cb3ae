// A logout ends the session of the official client, which receives `session-expired` before the close: over long
// polling, over WebSocket, and with the default transports before, during and after the upgrade.
import assert from 'node:assert/strict';

import { call, connect, logIn, pass, signUp } from './socket_user.mjs';

await signUp('ada');
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Logs out `wait` ms after the socket has connected; returns what the client receives, in order.
async function eventsOfLogout(transports, wait) {
  const { accessToken } = await logIn('ada');
  const events = [];
  let ended;
  const socket = await connect(accessToken, transports && { transports }, (socket) => {
    socket.on('session-expired', ({ code }) => events.push(code));
    ended = new Promise((resolve) => {
      socket.on('disconnect', (reason) => {
        events.push(reason);
        resolve();
      });
    });
  });
  // The moment of the logout is what the loop below varies.
  await pause(wait);
  await call('POST', '/logout', accessToken, {});
  await ended;
  // Proves that nothing more arrives: a late event would come with the next poll.
  await pause(200);
  socket.close();
  return events;
}

const expected = ['session-revoked', 'io server disconnect'];
for (const transports of [['polling'], ['websocket']]) {
  assert.deepEqual(await eventsOfLogout(transports, 50), expected, transports);
}
// The upgrade takes tens of milliseconds: the logout comes before, during and after it.
for (let wait = 0; wait < 60; wait += 4) {
  assert.deepEqual(await eventsOfLogout(undefined, wait), expected, `${wait} ms after the connect`);
}
pass();
