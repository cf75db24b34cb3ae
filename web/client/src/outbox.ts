import { backoff, pause } from './backoff.ts';
import { GatewayError } from './errors.ts';
import type { Accepted, ClientEvent, ClientEventName } from './types.ts';

/** After this the caller hears that it failed; with the same `id` it can be sent again at any time. */
const SEND_WITHIN_MS = 5 * 60_000;
/** Events that wait; the next one is refused. */
const LONGEST_QUEUE = 1_000;
const TRY_AGAIN = ['timeout', 'unavailable', 'busy', 'storage-full', 'not-joined'];

/** Whether the same event may succeed later: nothing was decided about it. */
function mayPass(code: string): boolean {
  // Of the socket, of the user, of the room.
  return TRY_AGAIN.includes(code) || code.endsWith('rate-limited');
}

export interface Caller {
  call<Name extends ClientEventName>(event: Name, data: ClientEvent<Name>): Promise<Accepted<Name>>;
}

interface Entry {
  send(caller: Caller): Promise<void>;
  reject(error: GatewayError): void;
  timer: ReturnType<typeof setTimeout>;
}

/** What is to be stored, sent in order and one at a time, as often as it takes. */
export class Outbox {
  readonly #onNotJoined: () => void;
  #queue: Entry[] = [];
  #caller: Caller | null = null;
  #isRunning = false;

  /** `onNotJoined` is called when the gateway does not know of the join. */
  constructor(onNotJoined: () => void) {
    this.#onNotJoined = onNotJoined;
  }

  /** `data` is asked for when it is sent: the room may not be entered before. */
  push<Name extends ClientEventName>(event: Name, data: () => ClientEvent<Name>): Promise<Accepted<Name>> {
    return new Promise((resolve, reject) => {
      if (this.#queue.length >= LONGEST_QUEUE) {
        return reject(new GatewayError('busy', `${LONGEST_QUEUE} events wait to be sent`));
      }
      const timer = setTimeout(() => {
        this.#drop(entry, new GatewayError('timeout', 'it could not be sent in time; send it again with the same id'));
      }, SEND_WITHIN_MS);
      const entry: Entry = {
        send: async (caller) => resolve(await caller.call(event, data())),
        reject,
        timer,
      };
      this.#queue.push(entry);
      void this.#run();
    });
  }

  /** By what to send from now on; nothing goes out while there is none. */
  use(caller: Caller | null): void {
    if (caller === this.#caller) return;
    this.#caller = caller;
    void this.#run();
  }

  /** Refuses everything that waits. */
  end(code: string): void {
    for (const entry of this.#queue) this.#drop(entry, new GatewayError(code, 'the room is closed'));
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let failures = 0;
    for (let entry = this.#queue[0]; entry && this.#caller; entry = this.#queue[0]) {
      const caller: Caller = this.#caller;
      try {
        await entry.send(caller);
        this.#drop(entry);
        failures = 0;
      } catch (error) {
        const refusal = error as GatewayError;
        if (!mayPass(refusal.code)) this.#drop(entry, refusal);
        else if (refusal.code === 'not-joined' && caller === this.#caller) this.#onNotJoined();
        else if (caller === this.#caller) await pause(backoff(++failures));
      }
    }
    this.#isRunning = false;
  }

  #drop(entry: Entry, error?: GatewayError): void {
    clearTimeout(entry.timer);
    this.#queue = this.#queue.filter((waiting) => waiting !== entry);
    if (error) entry.reject(error);
  }
}
