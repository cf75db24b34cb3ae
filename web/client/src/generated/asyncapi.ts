// Generated from api/asyncapi.json by `npm run types`. Do not edit.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    /** @enum {string} */
    Code:
      | 'malformed-json'
      | 'unknown-event'
      | 'unknown-field'
      | 'missing-field'
      | 'duplicate-field'
      | 'wrong-type'
      | 'invalid-value'
      | 'bad-room-id'
      | 'unexpected-binary'
      | 'token-missing'
      | 'token-invalid'
      | 'token-expired'
      | 'token-wrong-kind'
      | 'session-revoked'
      | 'wrong-user'
      | 'ticket-invalid'
      | 'ticket-expired'
      | 'ticket-wrong-kind'
      | 'ticket-wrong-room'
      | 'ticket-wrong-user'
      | 'not-joined'
      | 'forbidden'
      | 'room-deleted'
      | 'no-such-file'
      | 'no-such-message'
      | 'too-many-reactions'
      | 'message-empty'
      | 'message-too-long'
      | 'rate-limited'
      | 'user-rate-limited'
      | 'room-rate-limited'
      | 'too-many-rooms'
      | 'too-many-sockets'
      | 'too-many-from-address'
      | 'unavailable'
      | 'busy'
      | 'storage-full';
    /**
     * @description A user's name as others see it: 1 to 40 characters of any script, NFC, with a visible one.
     * @example Ada Lovelace
     */
    DisplayName: string;
    /**
     * @description A reaction: exactly one emoji that Unicode recommends, in its fully-qualified form.
     * @example 👍
     */
    Emoji: string;
    /**
     * Format: uuid
     * @description A file of a room.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    FileId: string;
    /** @description A complete file in a message. */
    FileRef: {
      id: components['schemas']['FileId'];
      /** @description The name that the uploader declared, for display and download only. */
      name: string;
      /**
       * Format: int64
       * @description Bytes.
       */
      size: number;
      /** @description The declared media type. That of a file that is shown inline was checked against its content. */
      type: string;
    };
    /** @description A message as its author sent it. */
    Message: {
      at: components['schemas']['Timestamp'];
      file?: components['schemas']['FileRef'] | null;
      from: components['schemas']['Person'];
      id: components['schemas']['MessageId'];
      msg: components['schemas']['MessageText'];
      /**
       * Format: int64
       * @description The seq of the message that this one replies to.
       */
      replyTo?: number | null;
    };
    /**
     * Format: uuid
     * @description A message. Its sender chooses the id; the same id by the same user in the same room is stored once.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    MessageId: string;
    /**
     * @description A message's text. Its length limit is separate, as operators can change it.
     * @example hello
     */
    MessageText: string;
    /** @description The users who are online in a room. */
    Online: {
      /** @description Users, each counted once regardless of their sockets. */
      count: number;
      /** @description At most 100 of them. */
      users: components['schemas']['Person'][];
    };
    /** @description A user as others see them. `id` is verified by a token; `name` is chosen by the user. */
    Person: {
      id: components['schemas']['UserId'];
      name: components['schemas']['DisplayName'];
    };
    /** @description An error as the client receives it: a code for the program and a sentence for people. */
    Refusal: {
      /** @description Stable, kebab-case. */
      code: components['schemas']['Code'];
      /** @description A sentence for people: the reason and what to do. Contains nothing internal. */
      detail: string;
    };
    /**
     * Format: uuid
     * @description A room. Its text is also the last token of the room's NATS subjects.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    RoomId: string;
    /**
     * @description A room's title: 1 to 120 characters of any script, NFC, with a visible one.
     * @example The lobby
     */
    RoomTitle: string;
    /**
     * Format: date-time
     * @description A point in time, truncated to the millisecond so that it is unchanged by the wire.
     * @example 2026-01-31T12:00:00.000Z
     */
    Timestamp: string;
    /**
     * Format: uuid
     * @description An account.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    UserId: string;
    /** @description Deletes a message. For its author and for moderators. */
    'client.delete-msg': {
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
    };
    'client.delete-msg.ack':
      | {
          at: components['schemas']['Timestamp'];
          /** @description It was stored before with the same id; `seq` and `at` are those of that event. */
          duplicate: boolean;
          /** @constant */
          ok: true;
          /** Format: int64 */
          seq: number;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Changes a message's text. For its author only. */
    'client.edit-msg': {
      msg: components['schemas']['MessageText'];
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
    };
    'client.edit-msg.ack':
      | {
          at: components['schemas']['Timestamp'];
          /** @description It was stored before with the same id; `seq` and `at` are those of that event. */
          duplicate: boolean;
          /** @constant */
          ok: true;
          /** Format: int64 */
          seq: number;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Starts receiving a room's events. With `after`, the events since that seq are replayed first. */
    'client.join-room': {
      /** Format: int64 */
      after?: number | null;
      roomId: components['schemas']['RoomId'];
      /** @description From the answer to `GET /room/{name}`. */
      ticket: string;
      userId: components['schemas']['UserId'];
    };
    'client.join-room.ack':
      | {
          /**
           * Format: int64
           * @description The seq of the room's newest event.
           */
          head: number;
          /** @constant */
          ok: true;
          online: components['schemas']['Online'];
          /** @description False if the events since `after` were not replayed and must be read over HTTP. */
          recovered: boolean;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Stops receiving a room's events. */
    'client.leave-room': {
      roomId: components['schemas']['RoomId'];
    };
    'client.leave-room.ack':
      | {
          /** @constant */
          ok: true;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Sets the caller's display name in the room. */
    'client.new': {
      /** @description The display name. */
      msg: components['schemas']['DisplayName'];
      roomId: components['schemas']['RoomId'];
    };
    'client.new.ack':
      | {
          /** @constant */
          ok: true;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Adds or removes a reaction. */
    'client.react': {
      emoji: components['schemas']['Emoji'];
      on: boolean;
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
    };
    'client.react.ack':
      | {
          at: components['schemas']['Timestamp'];
          /** @description It was stored before with the same id; `seq` and `at` are those of that event. */
          duplicate: boolean;
          /** @constant */
          ok: true;
          /** Format: int64 */
          seq: number;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Marks the room as read up to `seq`. The mark moves forward only. */
    'client.read': {
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
    };
    'client.read.ack':
      | {
          /** @constant */
          ok: true;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Replaces the socket's access token before it expires. */
    'client.refresh': {
      token: string;
    };
    'client.refresh.ack':
      | {
          /** @constant */
          ok: true;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Sends a notice to the whole room. For owners and moderators. */
    'client.room-broadcast': {
      msg: components['schemas']['MessageText'];
      roomId: components['schemas']['RoomId'];
    };
    'client.room-broadcast.ack':
      | {
          at: components['schemas']['Timestamp'];
          /** @description It was stored before with the same id; `seq` and `at` are those of that event. */
          duplicate: boolean;
          /** @constant */
          ok: true;
          /** Format: int64 */
          seq: number;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Stores a message. Sent again with the same `id`, it is stored once. */
    'client.send-msg': {
      fileId?: components['schemas']['FileId'] | null;
      id?: components['schemas']['MessageId'] | null;
      msg: components['schemas']['MessageText'];
      name?: components['schemas']['DisplayName'] | null;
      /** Format: int64 */
      replyTo?: number | null;
      roomId: components['schemas']['RoomId'];
    };
    'client.send-msg.ack':
      | {
          at: components['schemas']['Timestamp'];
          /** @description It was stored before with the same id; `seq` and `at` are those of that event. */
          duplicate: boolean;
          /** @constant */
          ok: true;
          /** Format: int64 */
          seq: number;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Sends WebRTC signalling to all sockets of one user in the room. */
    'client.signal': {
      /** @description Any JSON, nested at most 64 levels deep. */
      data: unknown;
      roomId: components['schemas']['RoomId'];
      to: components['schemas']['UserId'];
    };
    'client.signal.ack':
      | {
          /** @constant */
          ok: true;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description Shows that the caller is typing. Not stored. */
    'client.typing': {
      on: boolean;
      roomId: components['schemas']['RoomId'];
    };
    'client.typing.ack':
      | {
          /** @constant */
          ok: true;
        }
      | {
          error: components['schemas']['Refusal'];
          /** @constant */
          ok: false;
        };
    /** @description This socket was too slow and has left the room: join again with `after: last`. */
    'server.lag': {
      /** Format: int64 */
      last: number;
      roomId: components['schemas']['RoomId'];
    };
    'server.member-joined': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      user: components['schemas']['Person'];
    };
    'server.member-left': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      user: components['schemas']['Person'];
    };
    'server.member-removed': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      banned: boolean;
      by: components['schemas']['UserId'];
      user: components['schemas']['Person'];
    };
    /** @description This gateway is draining: open a second socket before the deadline, then close this one. */
    'server.migrate': {
      deadline: components['schemas']['Timestamp'];
    };
    'server.msg-deleted': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      by: components['schemas']['UserId'];
      /** Format: int64 */
      target: number;
    };
    /** @description `target` is the seq of the edited message; `seq` is that of this event. */
    'server.msg-edited': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      by: components['schemas']['UserId'];
      msg: components['schemas']['MessageText'];
      /** Format: int64 */
      target: number;
    };
    /**
     * @description The users that came online or went offline since the last `presence` event, and how many are
     *     online now.
     */
    'server.presence': {
      count: number;
      joined: components['schemas']['Person'][];
      left: components['schemas']['Person'][];
      roomId: components['schemas']['RoomId'];
    };
    'server.reaction': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      by: components['schemas']['Person'];
      emoji: components['schemas']['Emoji'];
      on: boolean;
      /** Format: int64 */
      target: number;
    };
    /** @description How far a user has read. Not sent in rooms with more than 100 users online. */
    'server.read': {
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
      user: components['schemas']['UserId'];
    };
    'server.receive-msg': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & components['schemas']['Message'];
    'server.room-broadcast': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      from: components['schemas']['Person'];
      msg: components['schemas']['MessageText'];
    };
    'server.room-deleted': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      by: components['schemas']['UserId'];
    };
    'server.room-updated': {
      /** @description The seq of the room's event before it; 0 for none. */
      prev: number;
      /**
       * Format: uuid
       * @description A room. Its text is also the last token of the room's NATS subjects.
       * @example 01890a5d-ac96-774b-bcce-b302099a8057
       */
      roomId: string;
      /** @description The event's place in its room. */
      seq: number;
    } & {
      at: components['schemas']['Timestamp'];
      by: components['schemas']['UserId'];
      private: boolean;
      title?: components['schemas']['RoomTitle'] | null;
    };
    /** @description The server is about to close the socket. */
    'server.session-expired': {
      code: components['schemas']['Code'];
    };
    /** @description WebRTC signalling from another user. */
    'server.signal': {
      data: unknown;
      from: components['schemas']['Person'];
      roomId: components['schemas']['RoomId'];
    };
    /** @description A user is typing, or stopped typing. Not sent in rooms with more than 100 users online. */
    'server.typing': {
      on: boolean;
      roomId: components['schemas']['RoomId'];
      user: components['schemas']['Person'];
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
