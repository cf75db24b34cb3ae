import type { Status } from './machine.ts';
import type { Entered, Message, Person, StoredEvent } from './types.ts';

/** What a room tells its owner. Stored events come in order, without a gap and without a double. */
export interface RoomListener {
  entered?(entered: Entered): void;
  event?(event: StoredEvent): void;
  /** Messages that were missed for longer than the gateway replays. */
  missed?(messages: Message[]): void;
  online?(count: number, joined: Person[], left: Person[], all: boolean): void;
  status?(status: Status): void;
  /** An attempt to join has failed; `code` says why, and the next one begins after so many milliseconds. */
  retrying?(code: string, inMs: number): void;
  /** The room or the session is over and will not come back by itself; `code` says why. */
  ended?(code: string): void;
}

/** The same listener, whose errors are reported as uncaught ones and do not stop the room. */
export function guarded(listener: RoomListener): Required<RoomListener> {
  const call =
    <K extends keyof RoomListener>(name: K) =>
    (...args: unknown[]): void => {
      try {
        (listener[name] as ((...args: unknown[]) => void) | undefined)?.call(listener, ...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    };
  return {
    entered: call('entered'),
    event: call('event'),
    missed: call('missed'),
    online: call('online'),
    status: call('status'),
    retrying: call('retrying'),
    ended: call('ended'),
  };
}
