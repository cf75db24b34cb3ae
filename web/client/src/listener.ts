import type { Status } from './state-machine.ts';
import type { Entered, Message, Person, StoredEvent } from './types.ts';

/** Callbacks of a room. Stored events arrive in order, without gaps and without duplicates. */
export interface RoomListener {
  entered?(entered: Entered): void;
  event?(event: StoredEvent): void;
  /** Messages sent while the client was away for longer than the gateway's replay window, read by HTTP. */
  missed?(messages: Message[]): void;
  /** Who is online. With `all`, `joined` is the whole list, otherwise `joined` and `left` are changes to it. */
  online?(count: number, joined: Person[], left: Person[], all: boolean): void;
  status?(status: Status): void;
  /** An attempt to join failed with this code. The next one starts after the delay. */
  retrying?(code: string, delayMs: number): void;
  /** The room was left for good, for the reason in `code`. There are no further attempts. */
  ended?(code: string): void;
}

/** Wraps the callbacks: an exception in one of them is reported as uncaught and does not stop the room. */
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
