import type { Person } from '@chatting-room/client';

/** The people in a room after a presence event, sorted by name. Someone who changed their name is in `joined`. */
export function afterPresence(people: readonly Person[], joined: readonly Person[], left: readonly Person[]): Person[] {
  const replaced = new Set([...left, ...joined].map(({ id }) => id));
  const others = people.filter(({ id }) => !replaced.has(id));
  return [...others, ...joined].sort((a, b) => a.name.localeCompare(b.name));
}
