import type { Person } from '@chatting-room/client';

/** Applies a presence event to a list of people, sorted by name. A person whose name has changed is in `joined`. */
export function afterPresence(people: readonly Person[], joined: readonly Person[], left: readonly Person[]): Person[] {
  const replaced = new Set([...left, ...joined].map(({ id }) => id));
  const others = people.filter(({ id }) => !replaced.has(id));
  return [...others, ...joined].sort((a, b) => a.name.localeCompare(b.name));
}
