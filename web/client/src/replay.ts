import { ApiError } from './errors.ts';
import type { Caller } from './outbox.ts';
import type { Outcome } from './machine.ts';
import { Order } from './order.ts';
import type { Api } from './api.ts';
import type { Entered, Joined, Message } from './types.ts';

const PAGE = 200;

/** Joins a room where it was left: what was missed comes first, replayed by the gateway or by HTTP. */
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

  /** The replayed events come before the answer. */
  async join(link: Caller, { room, head, ticket }: Entered): Promise<{ joined: Joined; outcome: Outcome }> {
    const after = this.order.last ?? head;
    this.order.reset(after);
    const userId = this.#api.session.user?.id ?? '';
    const joined = await link.call('join-room', { roomId: room.id, userId, ticket, after });
    const isComplete = this.#last >= joined.head;
    if (joined.recovered) return { joined, outcome: isComplete ? 'complete' : 'incomplete' };
    // The server has lost events and counts on from an earlier one.
    if (joined.head < after) this.order.reset(joined.head);
    return { joined, outcome: isComplete ? 'complete' : 'missed' };
  }

  /** Pages the messages up to `head` that the gateway no longer replays. What follows is the next join's. */
  async read(head: number, isCurrent: () => boolean): Promise<void> {
    for (let more = true; more && this.#last < head;) {
      const page = await this.#api.messages(this.#room, { after: this.#last, limit: PAGE });
      if (!isCurrent()) return;
      if (!page.complete) throw new ApiError(503, 'unavailable', 'the newest messages cannot be read now');
      const missed = page.items.filter(({ seq }) => seq > this.#last && seq <= head);
      more = page.next != null && missed.length > 0;
      this.order.reset(missed.at(-1)?.seq ?? this.#last);
      if (missed.length) this.#onMissed(missed);
    }
    this.order.reset(Math.max(this.#last, head));
  }
}
