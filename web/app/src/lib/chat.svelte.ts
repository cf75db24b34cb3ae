import {
  ApiError,
  Room,
  uploadFile,
  uuidv7,
  type Entered,
  type FileRef,
  type History,
  type Message,
  type Person,
  type Status,
  type StoredEvent,
} from '@chatting-room/client';

import { app } from './app.svelte.ts';
import { changed, merged, sending, sent, type Line } from './lines.ts';
import { afterPresence } from './people.ts';
import { untilDone } from './retry.ts';

export interface Sending {
  key: string;
  name: string;
  share: number;
  stop: AbortController;
}

/** A file that is shown without leaving the page, and its link into the storage. */
export interface Viewed {
  file: FileRef;
  url: string;
}

const isShown = ({ type }: FileRef) => /^(image|audio|video)\//.test(type);

/** A room as the page shows it. */
export class Chat {
  entered = $state.raw<Entered | null>(null);
  lines = $state.raw<Line[]>([]);
  people = $state.raw<Person[]>([]);
  count = $state(0);
  status = $state<Status>('connecting');
  /** Attempts to connect fail again and again. */
  isTroubled = $state(false);
  ended = $state<string | null>(null);
  uploads = $state<Sending[]>([]);
  older = $state<string | null>(null);
  error = $state.raw<unknown>(null);
  viewed = $state.raw<Viewed | null>(null);
  readonly #room: Room;
  #isOpen = true;
  #failures = 0;
  #isLoading = false;

  constructor(readonly name: string) {
    this.#room = new Room(app.api, name, {
      entered: (entered) => (this.entered = entered),
      missed: (messages) => this.#add(messages),
      online: (count, joined, left, all) => this.#online(count, joined, left, all),
      status: (status) => {
        this.status = status;
        if (status === 'online') this.#failures = 0;
        this.isTroubled = false;
      },
      // The first failure is what a lost connection looks like.
      retrying: () => (this.isTroubled = ++this.#failures > 1),
      ended: (code) => {
        this.ended = code;
        this.#online(0, [], [], true);
      },
      event: (event) => this.#happened(event),
    });
  }

  /** Shows the newest messages, however long the server is away before it answers. */
  async open(): Promise<void> {
    try {
      await this.#room.open();
    } catch {
      // `ended` has said why.
      return;
    }
    await this.#load({});
  }

  close(): void {
    this.#isOpen = false;
    this.#room.close();
  }

  async loadOlder(): Promise<void> {
    if (this.older) await this.#load({ cursor: this.older });
  }

  /** Shows a message at once and stores it; `id` is an earlier try's. */
  async send(msg: string, file?: FileRef | null, id = uuidv7()): Promise<void> {
    const { user } = app;
    if (!user) return;
    const others = this.lines.filter(({ key }) => key !== id);
    this.lines = merged(others, [sending(id, { id: user.id, name: user.displayName }, msg, file)]);
    try {
      await this.#room.send(msg, { id, ...(file ? { fileId: file.id } : {}) });
    } catch {
      this.lines = this.lines.map((line) =>
        line.key === id && line.kind === 'message' && line.state === 'sending' ? { ...line, state: 'failed' } : line,
      );
    }
  }

  async sendFile(file: File): Promise<void> {
    this.error = null;
    const upload: Sending = { key: uuidv7(), name: file.name, share: 0, stop: new AbortController() };
    this.uploads.push(upload);
    const shown = this.uploads.find(({ key }) => key === upload.key);
    try {
      const stored = await uploadFile(app.api, this.name, file, {
        signal: upload.stop.signal,
        onProgress: (share) => shown && (shown.share = share),
      });
      void this.send('', stored);
    } catch (error) {
      if ((error as { code?: string }).code !== 'aborted') this.error = error;
    }
    this.uploads = this.uploads.filter(({ key }) => key !== upload.key);
  }

  /** Shows what a browser can show, and has it save anything else. */
  async openFile(file: FileRef): Promise<void> {
    try {
      const { url } = await app.api.fileLink(file.id);
      if (isShown(file)) this.viewed = { file, url };
      else Object.assign(document.createElement('a'), { href: url, download: file.name, rel: 'noopener' }).click();
    } catch (error) {
      this.error = error;
    }
  }

  rename(name: string): Promise<void> {
    return this.#room.rename(name);
  }

  async remove(): Promise<void> {
    await app.api.deleteRoom(this.name);
  }

  /** A page of history, tried until it is there. */
  async #load(window: { cursor?: string }): Promise<void> {
    if (this.#isLoading) return;
    this.#isLoading = true;
    try {
      const isWanted = () => this.#isOpen && !this.ended;
      const page = await untilDone(isWanted, () => this.#page(window));
      if (!page) return;
      this.older = page.next ?? null;
      this.error = null;
    } catch (error) {
      this.error = error;
    } finally {
      this.#isLoading = false;
    }
  }

  async #page(window: { cursor?: string }): Promise<History> {
    const page = await app.api.messages(this.name, window);
    // What is here already was changed by events since.
    const known = this.lines.filter((line) => line.kind !== 'message' || line.state === 'sent');
    this.#add(page.items);
    this.lines = merged(this.lines, known);
    if (!page.complete) throw new ApiError(503, 'unavailable', 'the newest messages cannot be read now');
    return page;
  }

  #happened({ name, data }: StoredEvent): void {
    const { seq } = data;
    const key = String(seq);
    const system = (person: Person, what: 'joined' | 'left' | 'removed') =>
      (this.lines = merged(this.lines, [{ kind: 'system', key, seq, person, what }]));
    if (name === 'receive-msg') this.#add([data]);
    if (name === 'msg-edited') {
      this.lines = changed(this.lines, data.target, (message) => ({ ...message, msg: data.msg }));
    }
    if (name === 'msg-deleted') {
      this.lines = this.lines.filter((line) => line.kind !== 'message' || line.message.seq !== data.target);
    }
    if (name === 'room-broadcast') {
      this.lines = merged(this.lines, [{ kind: 'notice', key, seq, from: data.from, text: data.msg }]);
    }
    if (name === 'member-joined') system(data.user, 'joined');
    if (name === 'member-left') system(data.user, 'left');
    if (name === 'member-removed') system(data.user, 'removed');
  }

  #add(messages: Message[]): void {
    this.lines = merged(this.lines, messages.filter(({ deletedAt }) => !deletedAt).map(sent));
  }

  #online(count: number, joined: Person[], left: Person[], all: boolean): void {
    this.people = afterPresence(all ? [] : this.people, joined, left);
    this.count = count;
  }
}
