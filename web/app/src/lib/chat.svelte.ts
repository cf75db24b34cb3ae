import {
  ApiError,
  Room,
  uuidv7,
  type Entered,
  type FileRef,
  type History,
  type Person,
  type Status,
} from '@chatting-room/client';

import { app } from './app.svelte.ts';
import { RoomFiles } from './files.svelte.ts';
import { afterPresence } from './people.ts';
import { withRetries } from './retry.ts';
import { applyEvent, insert, insertMessages, markFailed, sendingMessage, type Entry } from './timeline.ts';

/** The state of a room for the page: connection, conversation and people. */
export class Chat {
  entered = $state.raw<Entered | null>(null);
  entries = $state.raw<Entry[]>([]);
  people = $state.raw<Person[]>([]);
  /** How many people are online. `people` may list fewer. */
  onlineCount = $state(0);
  status = $state<Status>('connecting');
  /** Attempts to connect have failed more than once. */
  isUnreachable = $state(false);
  /** Code of the reason why the room was left for good. */
  ended = $state<string | null>(null);
  /** Cursor of the page before the oldest message here. */
  olderCursor = $state<string | null>(null);
  error = $state.raw<unknown>(null);

  readonly name: string;
  readonly files: RoomFiles;
  readonly #room: Room;
  #isOpen = true;
  #failures = 0;
  #isLoading = false;

  constructor(name: string) {
    this.name = name;
    this.files = new RoomFiles(
      name,
      (file) => void this.send('', file),
      (error) => (this.error = error),
    );
    this.#room = new Room(app.api, name, {
      entered: (entered) => (this.entered = entered),
      missed: (messages) => (this.entries = insertMessages(this.entries, messages)),
      online: (count, joined, left, all) => this.#setOnline(count, joined, left, all),
      status: (status) => {
        this.status = status;
        if (status === 'online') this.#failures = 0;
        this.isUnreachable = false;
      },
      // The first failure is normal when a connection was lost.
      retrying: () => (this.isUnreachable = ++this.#failures > 1),
      ended: (code) => {
        this.ended = code;
        this.#setOnline(0, [], [], true);
      },
      event: (event) => (this.entries = applyEvent(this.entries, event)),
    });
  }

  /** Joins the room and loads the newest messages, even if the server is down for a long time before. */
  async open(): Promise<void> {
    try {
      await this.#room.open();
    } catch {
      // The `ended` callback has set the reason.
      return;
    }
    await this.#load({});
  }

  close(): void {
    this.#isOpen = false;
    this.#room.close();
  }

  async loadOlder(): Promise<void> {
    if (this.olderCursor) await this.#load({ cursor: this.olderCursor });
  }

  /** Displays a message immediately and sends it. To send a failed message again, pass its `id`. */
  async send(msg: string, file?: FileRef | null, id = uuidv7()): Promise<void> {
    const { user } = app;
    if (!user) return;
    const others = this.entries.filter(({ key }) => key !== id);
    this.entries = insert(others, [sendingMessage(id, { id: user.id, name: user.displayName }, msg, file)]);
    try {
      await this.#room.send(msg, { id, ...(file ? { fileId: file.id } : {}) });
    } catch {
      this.entries = markFailed(this.entries, id);
    }
  }

  sendFile(file: File): void {
    this.error = null;
    void this.files.upload(file);
  }

  rename(name: string): Promise<void> {
    return this.#room.rename(name);
  }

  async deleteRoom(): Promise<void> {
    await app.api.deleteRoom(this.name);
  }

  /** Loads a page of the history, with retries. */
  async #load(window: { cursor?: string }): Promise<void> {
    if (this.#isLoading) return;
    this.#isLoading = true;
    try {
      const isWanted = () => this.#isOpen && !this.ended;
      const page = await withRetries(isWanted, () => this.#loadPage(window));
      if (!page) return;
      this.olderCursor = page.next ?? null;
      this.error = null;
    } catch (error) {
      this.error = error;
    } finally {
      this.#isLoading = false;
    }
  }

  async #loadPage(window: { cursor?: string }): Promise<History> {
    const page = await app.api.messages(this.name, window);
    // Entries that are here already win over the page, because events may have changed them since.
    const existing = this.entries.filter((entry) => entry.kind !== 'message' || entry.state === 'stored');
    this.entries = insert(insertMessages(this.entries, page.items), existing);
    if (!page.complete) throw new ApiError(503, 'unavailable', 'the newest messages cannot be read at this moment');
    return page;
  }

  #setOnline(count: number, joined: Person[], left: Person[], all: boolean): void {
    this.people = afterPresence(all ? [] : this.people, joined, left);
    this.onlineCount = count;
  }
}
