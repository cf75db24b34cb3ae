import type { FileRef, Message, Person, StoredEvent } from '@chatting-room/client';

/** An item of a room's conversation. */
export type Entry =
  | MessageEntry
  | { kind: 'notice'; key: string; seq: number; from: Person; text: string }
  | { kind: 'membership'; key: string; seq: number; person: Person; change: 'joined' | 'left' | 'removed' };

export interface MessageEntry {
  kind: 'message';
  key: string;
  message: Message;
  state: 'stored' | 'sending' | 'failed';
}

type Entries = readonly Entry[];

/** Position of messages that have no seq yet: behind all others. */
const UNSENT = Number.MAX_SAFE_INTEGER;

function position(entry: Entry): number {
  return entry.kind === 'message' ? entry.message.seq || UNSENT : entry.seq;
}

/** A message that the server has stored. */
export function storedMessage(message: Message): Entry {
  return { kind: 'message', key: message.id, message, state: 'stored' };
}

/** A message that is being sent. The server assigns its seq and time later. */
export function sendingMessage(id: string, from: Person, msg: string, file?: FileRef | null): Entry {
  const at = new Date().toISOString();
  const message: Message = { roomId: '', seq: 0, id, from, msg, at, ...(file ? { file } : {}) };
  return { kind: 'message', key: id, message, state: 'sending' };
}

/** Adds entries in the room's order. An entry replaces an existing one with the same key. */
export function insert(entries: Entries, added: Entries): Entry[] {
  const byKey = new Map(entries.map((entry) => [entry.key, entry]));
  for (const entry of added) byKey.set(entry.key, entry);
  // The sort is stable, so messages without a seq keep the order in which they were written.
  return [...byKey.values()].sort((a, b) => position(a) - position(b));
}

/** Adds messages from the history, without the deleted ones. */
export function insertMessages(entries: Entries, messages: readonly Message[]): Entry[] {
  return insert(entries, messages.filter(({ deletedAt }) => !deletedAt).map(storedMessage));
}

/** Marks a message as failed, unless it was stored in the meantime. */
export function markFailed(entries: Entries, key: string): Entry[] {
  return entries.map((entry) =>
    entry.key === key && entry.kind === 'message' && entry.state === 'sending' ? { ...entry, state: 'failed' } : entry,
  );
}

/** Applies a stored event. Events that the page does not show change nothing. */
export function applyEvent(entries: Entries, { name, data }: StoredEvent): Entry[] {
  const { seq } = data;
  const key = String(seq);
  switch (name) {
    case 'receive-msg':
      return insert(entries, [storedMessage(data)]);
    case 'msg-edited':
      return entries.map((entry) =>
        isMessage(entry, data.target) ? { ...entry, message: { ...entry.message, msg: data.msg } } : entry,
      );
    case 'msg-deleted':
      return entries.filter((entry) => !isMessage(entry, data.target));
    case 'room-broadcast':
      return insert(entries, [{ kind: 'notice', key, seq, from: data.from, text: data.msg }]);
    case 'member-joined':
      return insert(entries, [{ kind: 'membership', key, seq, person: data.user, change: 'joined' }]);
    case 'member-left':
      return insert(entries, [{ kind: 'membership', key, seq, person: data.user, change: 'left' }]);
    case 'member-removed':
      return insert(entries, [{ kind: 'membership', key, seq, person: data.user, change: 'removed' }]);
    default:
      return [...entries];
  }
}

function isMessage(entry: Entry, seq: number): entry is MessageEntry {
  return entry.kind === 'message' && entry.message.seq === seq;
}

/** What is displayed above an entry. */
export interface Heading {
  startsDay: boolean;
  showsAuthor: boolean;
}

/** Headings of the entries: the day where it changes, and the author where the author or the day changes. */
export function headings(entries: Entries): Heading[] {
  let day: string | null = null;
  return entries.map((entry, index) => {
    if (entry.kind !== 'message') return { startsDay: false, showsAuthor: false };
    const startsDay = dayOf(entry.message) !== day;
    day = dayOf(entry.message);
    const previous = entries[index - 1];
    const isSameAuthor = previous?.kind === 'message' && hasSameAuthor(previous.message, entry.message);
    return { startsDay, showsAuthor: startsDay || !isSameAuthor };
  });
}

function dayOf({ at }: Message): string {
  return new Date(at).toDateString();
}

/** Compares names too, because a display name can change. */
function hasSameAuthor({ from: a }: Message, { from: b }: Message): boolean {
  return a.id === b.id && a.name === b.name;
}
