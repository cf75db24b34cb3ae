// A user with an official Socket.IO client, for the scripts in this folder. CLIENT names the client's package.
import assert from 'node:assert/strict';

export const { BASE, GATEWAY, CLIENT } = process.env;
export const { io } = await import(CLIENT);

/** Calls the HTTP API; returns the parsed body of a success. */
export async function call(method, path, token, body) {
  const response = await fetch(BASE + path, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

const account = (name) => ({ name, password: 'correct horse' });

export const signUp = (name) => call('POST', '/user', null, account(name));
export const logIn = (name) => call('POST', '/login', null, account(name));

/** Connects a new socket and returns it once it is connected. `listen` may add listeners before. */
export async function connect(token, options, listen = () => {}) {
  const socket = io(GATEWAY, { auth: { token }, forceNew: true, ...options });
  listen(socket);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  return socket;
}

/** Emits an event; resolves with its acknowledgement. Clients of version 4.0 have no `emitWithAck`. */
export const ask = (socket, event, data) => new Promise((resolve) => socket.emit(event, data, resolve));

/** Resolves with the next event of a name. */
export const next = (socket, event) => new Promise((resolve) => socket.once(event, resolve));

/** Enters a room over HTTP; returns the data of `join-room`. */
export async function joinData(name, user, token, after) {
  const { room, ticket } = await call('GET', `/room/${name}`, token);
  return { roomId: room.id, userId: user.id, ticket, ...(after !== undefined && { after }) };
}

/** Prints the line that the test expects from a successful script. */
export const pass = () => console.log('1 passed, 0 failed');
