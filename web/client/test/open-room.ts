import { vi } from 'vitest';

import { Api, Room, type RoomListener } from '../src/index.ts';
import type { FakeServer } from './fake-server.ts';

export function memoryStore() {
  let value: string | null = null;
  return { get: () => value, set: (next: string | null) => void (value = next) };
}

/** Opens a room as a user who is logged in. `seen` records what the listener was called with. */
export function open(server: FakeServer, store = memoryStore(), listener: RoomListener = {}) {
  const over: string[] = [];
  const api = new Api({ base: 'http://fake', store, onSessionEnd: () => over.push('session') });
  if (!store.get()) api.session.start(server.tokens());
  const seen = { seqs: [] as number[], statuses: [] as string[], ended: [] as string[], over };
  const room = new Room(api, 'lobby', {
    event: ({ data }) => seen.seqs.push(data.seq),
    missed: (messages) => seen.seqs.push(...messages.map(({ seq }) => seq)),
    status: (status) => seen.statuses.push(status),
    ended: (code) => seen.ended.push(code),
    ...listener,
  });
  const opened = room.open();
  opened.catch(() => {});
  return { api, room, seen, opened, store };
}

export const wait = (ms: number) => vi.advanceTimersByTimeAsync(ms);
