import { ApiError } from './errors.ts';
import type { Caller } from './send-queue.ts';
import type { Outcome } from './state-machine.ts';
import { Order } from './order.ts';
import type { Api } from './api.ts';
import type { Entered, Joined, Message } from './types.ts';

const PAGE_SIZE = 200;

/** Joins a room at the position where it was left. Missed events are replayed by the gateway, or read by HTTP. */
export class Replay {
  readonly order = new Order();
  readonly #api: Api;
  readonly #room: string;
  readonly #onMissed: (messages: Message[]) => void;

  constructor(api: Api, room: string, onMissed: (messages: Message[]) => void) {
    this.#api = api;
    this.#room = room;
    this.#onMissed = onMissed;
  }

  get #last(): number {
    return this.order.last ?? 0;
  }

  /** Joins the room. The gateway sends the replayed events before the acknowledgement. */
  async join(connection: Caller, { room, head, ticket }: Entered): Promise<{ joined: Joined; outcome: Outcome }> {
    const after = this.order.last ?? head;
    this.order.reset(after);
    const userId = this.#api.session.user?.id ?? '';
    const joined = await connection.call('join-room', { roomId: room.id, userId, ticket, after });
    const isComplete = this.#last >= joined.head;
    if (joined.recovered) return { joined, outcome: isComplete ? 'complete' : 'incomplete' };
    // The server lost events, for instance by a restored backup, and its seqs continue from an earlier one.
    if (joined.head < after) this.order.reset(joined.head);
    return { joined, outcome: isComplete ? 'complete' : 'missed' };
  }

  /** Reads the missed messages up to `head` by HTTP. Events after `head` are replayed by the next join. */
  async readMissed(head: number, isCurrent: () => boolean): Promise<void> {
    for (let more = true; more && this.#last < head;) {
      const page = await this.#api.messages(this.#room, { after: this.#last, limit: PAGE_SIZE });
      if (!isCurrent()) return;
      if (!page.complete) throw new ApiError(503, 'unavailable', 'the newest messages cannot be read at this moment');
      const missed = page.items.filter(({ seq }) => seq > this.#last && seq <= head);
      more = page.next != null && missed.length > 0;
      this.order.reset(missed.at(-1)?.seq ?? this.#last);
      if (missed.length) this.#onMissed(missed);
    }
    this.order.reset(Math.max(this.#last, head));
  }
}
