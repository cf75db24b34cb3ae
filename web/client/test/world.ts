import { vi } from 'vitest';

import { Api, Room, type RoomListener } from '../src/index.ts';
import type { FakeServer } from './fake-server.ts';

export function memoryStore() {
  let value: string | null = null;
  return { get: () => value, set: (next: string | null) => void (value = next) };
}

/** A room of a user who is logged in, and what its owner was told. */
export function open(server: FakeServer, store = memoryStore(), listener: RoomListener = {}) {
  const over: string[] = [];
  const api = new Api({ base: 'http://fake', store, onSessionEnd: () => over.push('session') });
  if (!store.get()) api.session.start(server.tokens());
  const told = { seqs: [] as number[], statuses: [] as string[], ended: [] as string[], over };
  const room = new Room(api, 'lobby', {
    event: ({ data }) => told.seqs.push(data.seq),
    missed: (messages) => told.seqs.push(...messages.map(({ seq }) => seq)),
    status: (status) => told.statuses.push(status),
    ended: (code) => told.ended.push(code),
    ...listener,
  });
  const opened = room.open();
  opened.catch(() => {});
  return { api, room, told, opened, store };
}

export const wait = (ms: number) => vi.advanceTimersByTimeAsync(ms);
