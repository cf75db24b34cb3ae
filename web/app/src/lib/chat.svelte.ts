import { Room, uploadFile, uuidv7, type Entered, type FileRef, type Message, type Person, type Status } from '@chatting-room/client';

import { app } from './app.svelte.ts';

/** One line of the conversation. */
export type Line =
  | { kind: 'message'; key: string; message: Message; state: 'sent' | 'sending' | 'failed' }
  | { kind: 'notice'; key: string; from: Person; text: string }
  | { kind: 'system'; key: string; person: Person; what: 'joined' | 'left' };

export interface Sending {
  key: string;
  name: string;
  share: number;
  stop: AbortController;
}

function isMessage(line: Line, seq: number): boolean {
  return line.kind === 'message' && line.message.seq === seq;
}

/** How often lines of one person coming in again are worth a line: not at all. */
export class Chat {
  entered = $state<Entered | null>(null);
  lines = $state<Line[]>([]);
  people = $state<Person[]>([]);
  count = $state(0);
  status = $state<Status>('connecting');
  ended = $state<string | null>(null);
  uploads = $state<Sending[]>([]);
  older = $state<string | null>(null);
  error = $state<unknown>(null);
  readonly #room: Room;

  constructor(readonly name: string) {
    this.#room = new Room(app.api, name, {
      entered: (entered) => (this.entered = entered),
      missed: (messages) => messages.filter(({ deletedAt }) => !deletedAt).forEach((message) => this.#add(message)),
      online: (count, joined, left, all) => this.#online(count, joined, left, all),
      status: (status) => (this.status = status),
      ended: (code) => (this.ended = code),
      event: ({ name, data }) => {
        const key = String(data.seq);
        if (name === 'receive-msg') this.#add(data);
        if (name === 'msg-edited') this.#change(data.target, (message) => (message.msg = data.msg));
        if (name === 'msg-deleted') this.lines = this.lines.filter((line) => !isMessage(line, data.target));
        if (name === 'room-broadcast') this.lines.push({ kind: 'notice', key, from: data.from, text: data.msg });
        if (name === 'member-joined') this.lines.push({ kind: 'system', key, person: data.user, what: 'joined' });
        if (name === 'member-left') this.lines.push({ kind: 'system', key, person: data.user, what: 'left' });
      },
    });
  }

  async open(): Promise<void> {
    try {
      await this.#room.open();
      const page = await app.api.messages(this.name);
      this.#prepend(page.items);
      this.older = page.next;
    } catch (error) {
      this.error = error;
    }
  }

  close(): void {
    this.#room.close();
  }

  async loadOlder(): Promise<void> {
    const cursor = this.older;
    if (!cursor) return;
    this.older = null;
    const page = await app.api.messages(this.name, { cursor });
    this.#prepend(page.items);
    this.older = page.next;
  }

  /** Shows a message at once and stores it; `id` is an earlier try's. */
  async send(msg: string, file?: FileRef, id = uuidv7()): Promise<void> {
    const { user } = app;
    if (!user) return;
    this.lines = this.lines.filter((line) => line.key !== id);
    const from = { id: user.id, name: user.displayName };
    const message: Message = {
      roomId: '', seq: 0, id, from, msg, at: new Date().toISOString(), ...(file ? { file } : {}),
    };
    this.lines.push({ kind: 'message', key: id, message, state: 'sending' });
    try {
      await this.#room.send(msg, { id, ...(file ? { fileId: file.id } : {}) });
    } catch {
      const line = this.lines.find((line) => line.key === id);
      if (line?.kind === 'message') line.state = 'failed';
    }
  }

  async sendFile(file: File): Promise<void> {
    const sending: Sending = { key: uuidv7(), name: file.name, share: 0, stop: new AbortController() };
    this.uploads.push(sending);
    const shown = this.uploads.find(({ key }) => key === sending.key);
    try {
      const stored = await uploadFile(app.api, this.name, file, {
        signal: sending.stop.signal,
        onProgress: (share) => shown && (shown.share = share),
      });
      await this.send('', stored);
    } catch (error) {
      if ((error as { code?: string }).code !== 'aborted') this.error = error;
    }
    this.uploads = this.uploads.filter(({ key }) => key !== sending.key);
  }

  async download(file: FileRef): Promise<void> {
    const { url } = await app.api.fileLink(file.id);
    const link = Object.assign(document.createElement('a'), { href: url, download: file.name, rel: 'noopener' });
    link.click();
  }

  rename(name: string): Promise<void> {
    return this.#room.rename(name);
  }

  async remove(): Promise<void> {
    await app.api.deleteRoom(this.name);
  }

  #add(message: Message): void {
    const own = this.lines.findIndex((line) => line.key === message.id);
    if (own >= 0) this.lines.splice(own, 1);
    this.lines.push({ kind: 'message', key: message.id, message, state: 'sent' });
  }

  #change(seq: number, change: (message: Message) => void): void {
    const line = this.lines.find((line) => isMessage(line, seq));
    if (line?.kind === 'message') change(line.message);
  }

  #prepend(messages: Message[]): void {
    const known = new Set(this.lines.map((line) => line.key));
    const lines = messages.filter(({ id, deletedAt }) => !known.has(id) && !deletedAt).map((message) => ({
      kind: 'message' as const, key: message.id, message, state: 'sent' as const,
    }));
    this.lines = [...lines, ...this.lines];
  }

  #online(count: number, joined: Person[], left: Person[], all: boolean): void {
    const gone = new Set([...left, ...joined].map(({ id }) => id));
    const stay = all ? [] : this.people.filter(({ id }) => !gone.has(id));
    this.people = [...stay, ...joined].sort((a, b) => a.name.localeCompare(b.name));
    this.count = count;
  }
}
