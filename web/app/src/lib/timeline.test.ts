import type { Message, StoredEvent } from '@chatting-room/client';
import { expect, test } from 'vitest';

import { applyEvent, headings, insert, insertMessages, markFailed, sendingMessage, type Entry } from './timeline.ts';

const ada = { id: 'a', name: 'Ada' };
const bob = { id: 'b', name: 'Bob' };

function message(seq: number, more: Partial<Message> = {}): Message {
  return { roomId: 'r', seq, id: `m${seq}`, from: ada, msg: `text ${seq}`, at: '2026-01-01T12:00:00.000Z', ...more };
}

function event(name: string, seq: number, more: object): StoredEvent {
  return { name, data: { roomId: 'r', seq, prev: seq - 1, at: '2026-01-01T12:00:00.000Z', ...more } } as StoredEvent;
}

const keys = (entries: readonly Entry[]) => entries.map(({ key }) => key);

test('entries are in the order of their seqs, with unsent messages last in the order of writing', () => {
  const unsent = [sendingMessage('z', ada, 'first'), sendingMessage('y', ada, 'second')];
  expect(keys(insert(unsent, insertMessages([], [message(3), message(1)])))).toEqual(['m1', 'm3', 'z', 'y']);
});

test('a stored message replaces the unsent one with the same id', () => {
  const sending = insert([], [sendingMessage('m5', ada, 'hello')]);
  const stored = applyEvent(sending, event('receive-msg', 5, { id: 'm5', from: ada, msg: 'hello' }));
  expect(stored).toMatchObject([{ key: 'm5', state: 'stored', message: { seq: 5 } }]);
});

test('only a message that is still being sent fails', () => {
  const entries = [...insertMessages([], [message(1)]), sendingMessage('x', ada, 'hello')];
  const failed = markFailed(markFailed(entries, 'x'), 'm1');
  expect(failed).toMatchObject([{ state: 'stored' }, { state: 'failed' }]);
});

test('edits and deletions change the message they target', () => {
  const entries = insertMessages([], [message(1), message(2), message(3, { deletedAt: '2026-01-01T12:00:00.000Z' })]);
  const edited = applyEvent(entries, event('msg-edited', 4, { target: 1, msg: 'edited', by: 'a' }));
  expect(edited).toMatchObject([{ message: { msg: 'edited' } }, { message: { msg: 'text 2' } }]);
  expect(keys(applyEvent(edited, event('msg-deleted', 5, { target: 1, by: 'a' })))).toEqual(['m2']);
});

test('notices and changes of membership are entries of their own, other events are not', () => {
  let entries: Entry[] = [];
  entries = applyEvent(entries, event('member-joined', 1, { user: bob }));
  entries = applyEvent(entries, event('room-broadcast', 2, { from: ada, msg: 'tonight' }));
  entries = applyEvent(entries, event('reaction', 3, { target: 1, emoji: '👍', on: true, by: bob }));
  entries = applyEvent(entries, event('member-left', 4, { user: bob }));
  entries = applyEvent(entries, event('member-removed', 5, { user: bob, by: 'a', banned: false }));
  expect(entries).toMatchObject([
    { kind: 'membership', change: 'joined' },
    { kind: 'notice', text: 'tonight' },
    { kind: 'membership', change: 'left' },
    { kind: 'membership', change: 'removed' },
  ]);
});

test('the day is displayed where it changes, the author where the author or the day changes', () => {
  const at = '2026-01-03T12:00:00.000Z';
  const renamed = { ...bob, name: 'Bobby' };
  const entries = insertMessages(
    [],
    [
      message(1),
      message(2),
      message(3, { from: bob }),
      message(4, { from: renamed }),
      message(5, { from: renamed, at }),
    ],
  );
  expect(headings(entries)).toEqual([
    { startsDay: true, showsAuthor: true },
    { startsDay: false, showsAuthor: false },
    { startsDay: false, showsAuthor: true },
    { startsDay: false, showsAuthor: true },
    { startsDay: true, showsAuthor: true },
  ]);
});
