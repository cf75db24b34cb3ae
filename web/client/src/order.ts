/** Where an event stands: the next one, a duplicate, or behind a gap. */
export type Verdict = 'next' | 'known' | 'gap';

/**
 * Checks that a room's stored events arrive in order and without gaps. Each event carries the seq of its predecessor
 * (`prev`). Seqs are not consecutive, so a gap shows only by `prev`.
 */
export class Order {
  #last: number | undefined;

  /** The seq of the newest event seen without a gap before it; undefined before the first event. */
  get last(): number | undefined {
    return this.#last;
  }

  /** Sets the position: all events up to `seq` count as seen. */
  reset(seq: number): void {
    this.#last = seq;
  }

  /** Classifies an event, and advances the position if it is the next one. */
  see(seq: number, prev: number): Verdict {
    if (this.#last === undefined) {
      this.#last = seq;
      return 'next';
    }
    if (seq <= this.#last) return 'known';
    // Seqs only grow, so nothing is missing if `prev` is at or before the position.
    if (prev > this.#last) return 'gap';
    this.#last = seq;
    return 'next';
  }
}
