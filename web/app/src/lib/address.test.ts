import { expect, test } from 'vitest';

import { destination, loginPath, pagePath, roomInPath } from './address.ts';

test.each([
  ['/room/a', '', '/room/a'],
  ['/', '', '/'],
  ['/prod/room/a', '/prod', '/room/a'],
  ['/prod', '/prod', '/'],
  ['/prod/', '/prod', '/'],
  ['/production', '/prod', '/production'],
])('the page at %s below "%s" is %s', (pathname, base, path) => {
  expect(pagePath(pathname, base)).toBe(path);
});

test.each([
  ['/room/lobby', 'lobby'],
  ['/room/lobby/', 'lobby'],
  ['/room:lobby', 'lobby'],
  ['/room/%EB%AA%A8%EC%9E%84', '모임'],
  ['/room/%', null],
  ['/room/%E0%A4%A', null],
  ['/room/%E0%A4', null],
  ['/room/%FF', null],
  ['/room/a%', null],
  ['/room:%', null],
  ['/room/', null],
  ['/room/a/b', null],
  ['/', null],
])('the path %s has the room name %s', (path, room) => {
  expect(roomInPath(path)).toBe(room);
});

test.each([
  ['/room/lobby', '/room/lobby'],
  ['/room/%EB%AA%A8', '/room/%EB%AA%A8'],
  ['/?q=1#x', '/?q=1#x'],
  [null, '/'],
  ['', '/'],
  ['//x', '/'],
  ['///x', '/'],
  ['/\\evil.example', '/'],
  ['\\\\evil.example', '/'],
  ['/\t/evil.example', '/'],
  ['\n//evil.example', '/'],
  ['/.//evil.example', '/'],
  ['/x/..//evil.example', '/'],
  ['https://evil.example', '/'],
  ['https:evil.example', '/'],
  ['javascript:alert(1)', '/'],
  ['data:text/html,x', '/'],
  ['room/lobby', '/'],
  ['//[', '/'],
  ['/login', '/'],
  ['/login?to=/login', '/'],
  ['/signup', '/'],
  ['/room/%', '/room/%'],
])('after login, to=%s leads to %s', (to, path) => {
  expect(destination(to)).toBe(path);
  // `history.pushState` resolves the path in the same way.
  expect(new URL(destination(to), 'https://chat.example/login').origin).toBe('https://chat.example');
});

test('the login page leads back to the page before', () => {
  expect(loginPath('/room/a b')).toBe('/login?to=%2Froom%2Fa%20b');
  expect(['/', '/login', '/signup'].map(loginPath)).toEqual(['/login', '/login', '/login']);
});
