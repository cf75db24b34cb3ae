/** Shapes of the contract, as they stand on the wire. */

export interface Person {
  id: string;
  name: string;
}

export interface FileRef {
  id: string;
  name: string;
  /** Bytes. */
  size: number;
  type: string;
}

/** A place in a room's order: `prev` is the seq of the event before this one. */
export interface Placed {
  roomId: string;
  seq: number;
  prev: number;
  at: string;
}

export interface Message {
  roomId: string;
  seq: number;
  id: string;
  from: Person;
  msg: string;
  at: string;
  file?: FileRef;
  replyTo?: number;
  /** In history: what has become of it since. A deleted one has neither text nor file. */
  editedAt?: string;
  deletedAt?: string;
  reactions?: { emoji: string; count: number; mine: boolean }[];
}

/** Events that are stored and have a place in their room's order, by name. */
export interface StoredEvents {
  'receive-msg': Placed & Message;
  'msg-edited': Placed & { target: number; msg: string; by: string };
  'msg-deleted': Placed & { target: number; by: string };
  reaction: Placed & { target: number; emoji: string; on: boolean; by: Person };
  'room-broadcast': Placed & { from: Person; msg: string };
  'member-joined': Placed & { user: Person };
  'member-left': Placed & { user: Person };
  'member-removed': Placed & { user: Person; by: string; banned: boolean };
  'room-updated': Placed & { title: string | null; private: boolean; by: string };
  'room-deleted': Placed & { by: string };
}

export const STORED_EVENTS = [
  'receive-msg',
  'msg-edited',
  'msg-deleted',
  'reaction',
  'room-broadcast',
  'member-joined',
  'member-left',
  'member-removed',
  'room-updated',
  'room-deleted',
] as const satisfies readonly (keyof StoredEvents)[];

export interface Presence {
  roomId: string;
  count: number;
  /** New, or known under another name before. */
  joined: Person[];
  left: Person[];
}

export interface User {
  id: string;
  name: string;
  displayName: string;
  createdAt: string;
}

export interface Tokens {
  accessToken: string;
  /** Seconds. */
  expiresIn: number;
  refreshToken: string;
  user: User;
}

export type Role = 'member' | 'moderator' | 'owner';

export interface RoomInfo {
  id: string;
  name: string;
  title: string | null;
  private: boolean;
  /** Who is not a member needs its password to become one. */
  passwordRequired: boolean;
  creatorId: string;
  createdAt: string;
}

export interface Entered {
  room: RoomInfo;
  you: { role: Role };
  ticket: string;
  /** Seconds. */
  ticketExpiresIn: number;
  /** Where Socket.IO is. */
  gateway: string;
  head: number;
  members: { count: number };
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** A page of messages. Not complete: the newest are missing for now, because the server cannot read them. */
export interface History extends Page<Message> {
  complete: boolean;
}

export type Ack<T> = ({ ok: true } & T) | { ok: false; error: { code: string; detail: string } };

export interface Joined {
  head: number;
  online: { count: number; users: Person[] };
  recovered: boolean;
}

export interface Sent {
  seq: number;
  at: string;
  duplicate: boolean;
}

export interface Upload {
  method: 'PUT';
  url: string;
  headers: Record<string, string>;
  expiresAt: string;
}
