import { backoff, pause } from './backoff.ts';
import { GatewayError } from './errors.ts';
import type { Accepted, ClientEvent, ClientEventName } from './types.ts';

/** An event that is not stored by then is rejected. With the same `id` it can safely be sent again. */
const SEND_TIMEOUT_MS = 5 * 60_000;
/** Bound on waiting events. Further ones are rejected. */
const MAX_QUEUED = 1_000;
const TEMPORARY_CODES = ['timeout', 'network', 'unavailable', 'busy', 'storage-full', 'not-joined'];

/** Whether the same event may succeed later. */
function isTemporary(code: string): boolean {
  // The rate limits of the socket, the user and the room end in the same words.
  return TEMPORARY_CODES.includes(code) || code.endsWith('rate-limited');
}

/** What the queue needs of a connection. */
export interface Caller {
  call<Name extends ClientEventName>(event: Name, data: ClientEvent<Name>): Promise<Accepted<Name>>;
}

interface Entry {
  send(caller: Caller): Promise<void>;
  reject(error: GatewayError): void;
  timer: ReturnType<typeof setTimeout>;
}

/** Sends events that the gateway stores: in order, one at a time, with retries. */
export class SendQueue {
  readonly #onNotJoined: () => void;
  #queue: Entry[] = [];
  #caller: Caller | null = null;
  #isRunning = false;

  /** `onNotJoined` is called when the gateway refuses an event because this socket has not joined the room. */
  constructor(onNotJoined: () => void) {
    this.#onNotJoined = onNotJoined;
  }

  /** `data` is called at each attempt, because the room's id is unknown before the room was entered. */
  push<Name extends ClientEventName>(event: Name, data: () => ClientEvent<Name>): Promise<Accepted<Name>> {
    return new Promise((resolve, reject) => {
      if (this.#queue.length >= MAX_QUEUED) {
        return reject(new GatewayError('busy', `${MAX_QUEUED} events are waiting to be sent`));
      }
      const timer = setTimeout(() => {
        this.#remove(entry, new GatewayError('timeout', 'not sent in time; send it again with the same id'));
      }, SEND_TIMEOUT_MS);
      const entry: Entry = {
        send: async (caller) => resolve(await caller.call(event, data())),
        reject,
        timer,
      };
      this.#queue.push(entry);
      void this.#run();
    });
  }

  /** Sets the connection to send by. Without one, events wait. */
  use(caller: Caller | null): void {
    if (caller === this.#caller) return;
    this.#caller = caller;
    void this.#run();
  }

  /** Rejects all waiting events. */
  end(code: string): void {
    for (const entry of this.#queue) this.#remove(entry, new GatewayError(code, 'the room is closed'));
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let failures = 0;
    for (let entry = this.#queue[0]; entry && this.#caller; entry = this.#queue[0]) {
      const caller: Caller = this.#caller;
      try {
        await entry.send(caller);
        this.#remove(entry);
        failures = 0;
      } catch (error) {
        const refusal = error as GatewayError;
        if (!isTemporary(refusal.code)) this.#remove(entry, refusal);
        else if (refusal.code === 'not-joined' && caller === this.#caller) this.#onNotJoined();
        else if (caller === this.#caller) await pause(backoff(++failures));
      }
    }
    this.#isRunning = false;
  }

  #remove(entry: Entry, error?: GatewayError): void {
    clearTimeout(entry.timer);
    this.#queue = this.#queue.filter((waiting) => waiting !== entry);
    if (error) entry.reject(error);
  }
}
