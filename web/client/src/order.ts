export type Verdict = 'next' | 'known' | 'gap';

/**
 * A room's order, as a client can prove it: every stored event names the one before it. Pure, so that
 * it can be tested with any loss and any repetition.
 */
export class Order {
  #last: number | undefined;

  /** The newest event that was seen with all before it; none before the first. */
  get last(): number | undefined {
    return this.#last;
  }

  /** Everything up to `seq` is known, whatever was seen before. */
  reset(seq: number): void {
    this.#last = seq;
  }

  /** What an event is: the next one (then it counts as seen), one seen before, or one after a hole. */
  see(seq: number, prev: number): Verdict {
    if (this.#last === undefined) {
      this.#last = seq;
      return 'next';
    }
    if (seq <= this.#last) return 'known';
    // Sequences only grow: nothing can be missing between a `prev` we are past and this event.
    if (prev > this.#last) return 'gap';
    this.#last = seq;
    return 'next';
  }
}
