import type { FileRef, Message, Person } from '@chatting-room/client';

/** One line of the conversation. */
export type Line =
  | { kind: 'message'; key: string; message: Message; state: 'sent' | 'sending' | 'failed' }
  | { kind: 'notice'; key: string; seq: number; from: Person; text: string }
  | { kind: 'system'; key: string; seq: number; person: Person; what: 'joined' | 'left' | 'removed' };

/** What is not stored yet stands at the end. */
const UNSENT = Number.MAX_SAFE_INTEGER;

export function seqOf(line: Line): number {
  return line.kind === 'message' ? line.message.seq || UNSENT : line.seq;
}

export function sent(message: Message): Line {
  return { kind: 'message', key: message.id, message, state: 'sent' };
}

/** A message that is not stored yet. It gets its seq and its time from the server later. */
export function sending(id: string, from: Person, msg: string, file?: FileRef | null): Line {
  const at = new Date().toISOString();
  const message: Message = { roomId: '', seq: 0, id, from, msg, at, ...(file ? { file } : {}) };
  return { kind: 'message', key: id, message, state: 'sending' };
}

/** Adds lines, each once, in the room's order. The newer of two with the same key counts. */
export function merged(lines: readonly Line[], more: readonly Line[]): Line[] {
  const byKey = new Map(lines.map((line) => [line.key, line]));
  for (const line of more) byKey.set(line.key, line);
  // The sort is stable: what is not stored yet keeps the order in which it was written.
  return [...byKey.values()].sort((a, b) => seqOf(a) - seqOf(b));
}

/** Changes the message of this seq, if it is there. */
export function changed(lines: readonly Line[], seq: number, change: (message: Message) => Message): Line[] {
  return lines.map((line) =>
    line.kind === 'message' && line.message.seq === seq ? { ...line, message: change(line.message) } : line,
  );
}
