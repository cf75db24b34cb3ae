/** Pixels from the end within which the list counts as scrolled to the end. */
const END_MARGIN = 60;
/** Pixels from the top within which older messages are loaded. */
const TOP_MARGIN = 80;

/** The scroll position of the message list. The list stays at the end until the reader scrolls up. */
export class ScrollPosition {
  isAtEnd = $state(true);
  #list: HTMLElement | null = null;

  /** Attachment for the scrolling element. Keeps the end visible when a growing composer or a keyboard shrinks it. */
  readonly attach = (list: HTMLElement) => {
    this.#list = list;
    const observer = new ResizeObserver(() => {
      if (this.isAtEnd) this.toEnd();
    });
    observer.observe(list);
    return () => observer.disconnect();
  };

  /** To be called when the element has scrolled. */
  update(): void {
    this.isAtEnd = !this.#list || fromEnd(this.#list) - this.#list.clientHeight < END_MARGIN;
  }

  get isNearTop(): boolean {
    return !!this.#list && this.#list.scrollTop < TOP_MARGIN;
  }

  toEnd(): void {
    if (this.#list) this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Remembers the distance from the end. The returned function restores it after the content has changed. */
  keepDistanceFromEnd(): () => void {
    const list = this.#list;
    if (!list) return () => {};
    const distance = fromEnd(list);
    return () => (list.scrollTop = list.scrollHeight - distance);
  }
}

/** Distance of the visible part's upper edge from the end of the content. */
function fromEnd(list: HTMLElement): number {
  return list.scrollHeight - list.scrollTop;
}
