// Generated from api/openapi.json by `npm run types`. Do not edit.

export interface paths {
  '/.well-known/jwks.json': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Get the keys that verify tokens (RFC 7517) */
    get: operations['get_public_keys'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/file/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Download a file: a redirect, or with `Accept: application/json` the link itself */
    get: operations['download_file'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/file/{id}/complete': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Complete an upload */
    post: operations['complete_file'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/healthz': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Check that the process is alive */
    get: operations['check_liveness'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/login': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Log in */
    post: operations['log_in'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/login/refresh': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Get a new access token and refresh token */
    post: operations['refresh_tokens'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/logout': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Log out */
    post: operations['log_out'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/readyz': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Check that the process accepts requests: that database and NATS answer and it is not about to stop */
    get: operations['check_readiness'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/room': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List rooms */
    get: operations['list_rooms'];
    put?: never;
    /** Create a room */
    post: operations['create_room'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/room/{name}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Enter a room; entering a public room makes the caller a member */
    get: operations['enter_room'];
    put?: never;
    post?: never;
    /** Delete a room */
    delete: operations['delete_room'];
    options?: never;
    head?: never;
    /** Change a room */
    patch: operations['update_room'];
    trace?: never;
  };
  '/room/{name}/broadcast': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Send a notice to all members */
    post: operations['send_notice'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/room/{name}/file': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Declare a file to upload */
    post: operations['declare_file'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/room/{name}/member': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List a room's members */
    get: operations['list_members'];
    put?: never;
    /** Add a user, or join with the room's password */
    post: operations['join_room'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/room/{name}/member/{userId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /** Remove or ban a member, or leave */
    delete: operations['remove_member'];
    options?: never;
    head?: never;
    /** Change a member's role */
    patch: operations['change_role'];
    trace?: never;
  };
  '/room/{name}/message': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Read a page of messages, oldest first */
    get: operations['list_messages'];
    put?: never;
    /** Send a message */
    post: operations['send_message'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/room/{name}/message/search': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Search a room's messages, newest first */
    get: operations['search_messages'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/user': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Get my account */
    get: operations['get_account'];
    put?: never;
    /** Sign up */
    post: operations['sign_up'];
    /** Delete my account */
    delete: operations['delete_account'];
    options?: never;
    head?: never;
    /** Change my account */
    patch: operations['change_account'];
    trace?: never;
  };
  '/user/export': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Export all data stored about me */
    get: operations['export_account'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/user/session': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List my sessions */
    get: operations['list_sessions'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/user/session/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /** End one of my sessions */
    delete: operations['end_session'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    /** @description Request body of PATCH /user. Omitted fields stay unchanged. */
    AccountChange: {
      currentPassword?: components['schemas']['ClaimedPassword'] | null;
      displayName?: components['schemas']['DisplayName'] | null;
      password?: components['schemas']['NewPassword'] | null;
    };
    /** @description Request body of DELETE /user: the password again, as confirmation. */
    AccountDeletion: {
      password: components['schemas']['ClaimedPassword'];
    };
    /**
     * Format: password
     * @description A password to verify, of any length.
     */
    ClaimedPassword: string;
    /** @description Response of POST /file/{id}/complete. */
    CompletedFile: {
      file: components['schemas']['FileRef'];
    };
    /**
     * Format: cursor
     * @description The start of a page: `next` of the previous page of the same list. Its content may change between versions.
     */
    Cursor: string;
    /** @description Response of POST /room/{name}/file: the file and the request that uploads it. */
    DeclaredFile: {
      file: components['schemas']['FileRef'];
      upload: components['schemas']['UploadRequest'];
    };
    /**
     * @description A user's name as others see it: 1 to 40 characters of any script, NFC, with a visible one.
     * @example Ada Lovelace
     */
    DisplayName: string;
    /** @description The link as JSON, for web pages: a navigation cannot send an Authorization header, so it cannot use the redirect. */
    DownloadLink: {
      expiresAt: components['schemas']['Timestamp'];
      url: string;
    };
    /**
     * @description A reaction: exactly one emoji that Unicode recommends, in its fully-qualified form.
     * @example 👍
     */
    Emoji: string;
    /** @description All data stored about a user. Messages that are not archived yet are missing. */
    Export: {
      account: components['schemas']['User'];
      /** @description Rooms that the user is banned from. */
      bans: components['schemas']['ExportedBan'][];
      files: components['schemas']['ExportedFile'][];
      messages: components['schemas']['ExportedMessage'][];
      reactions: components['schemas']['ExportedReaction'][];
      rooms: components['schemas']['ExportedMembership'][];
      sessions: components['schemas']['Session'][];
    };
    /** @description A room that the user is banned from. */
    ExportedBan: {
      at: components['schemas']['Timestamp'];
      roomId: components['schemas']['RoomId'];
    };
    /** @description A file uploaded by the user. */
    ExportedFile: {
      createdAt: components['schemas']['Timestamp'];
      file: components['schemas']['FileRef'];
      roomId: components['schemas']['RoomId'];
    };
    /** @description A room that the user is a member of. */
    ExportedMembership: {
      joinedAt: components['schemas']['Timestamp'];
      /**
       * Format: int64
       * @description The seq up to which the user has read the room.
       */
      readSeq: number;
      role: string;
      room: string;
      roomId: components['schemas']['RoomId'];
    };
    /** @description A message written by the user. */
    ExportedMessage: {
      at: components['schemas']['Timestamp'];
      editedAt?: components['schemas']['Timestamp'] | null;
      msg: string;
      /** @description The display name when the message was sent. */
      name: string;
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
    };
    /** @description A reaction by the user. */
    ExportedReaction: {
      emoji: string;
      roomId: components['schemas']['RoomId'];
      /**
       * Format: int64
       * @description The seq of the message.
       */
      target: number;
    };
    /** @description An invalid field. */
    FieldError: {
      detail: string;
      field: string;
    };
    /**
     * Format: uuid
     * @description A file of a room.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    FileId: string;
    /**
     * @description A file's name on the uploader's machine: 1 to 255 characters without slashes, backslashes, control and
     *     direction-changing characters, NFC, with a visible character; not `.` or `..`. Other invisible characters are
     *     removed where nothing needs them.
     * @example photo.png
     */
    FileName: string;
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
    /** @description The newest message of a room. */
    LastMessage: {
      at: components['schemas']['Timestamp'];
      deletedAt?: components['schemas']['Timestamp'] | null;
      file?: components['schemas']['FileRef'] | null;
      from: components['schemas']['Person'];
      id: components['schemas']['MessageId'];
      /** @description Empty for a deleted message; may be empty for a message with a file. */
      msg: string;
      /** Format: int64 */
      seq: number;
    };
    /**
     * Format: int32
     * @description Number of items of a page.
     * @default 50
     */
    Limit: number;
    /** @description A room with the caller's unread count and its newest message. */
    ListedRoom: components['schemas']['Room'] & {
      lastMessage?: components['schemas']['LastMessage'] | null;
      /**
       * Format: int64
       * @description Number of unread messages of others, at most 100; null if the caller is not a member.
       */
      unread?: number | null;
    };
    /** @description The answer of a running process. */
    Liveness: {
      status: string;
    };
    /** @description Request body of POST /login. */
    Login: {
      name: string;
      password: components['schemas']['ClaimedPassword'];
    };
    /**
     * @description A media type `type/subtype` in lower case (RFC 6838), without parameters.
     * @example image/png
     */
    MediaType: string;
    /** @description A member. */
    Member: {
      displayName: string;
      id: components['schemas']['UserId'];
      joinedAt: components['schemas']['Timestamp'];
      name: string;
      /** @description Whether the member is connected to the room now; null if the gateways did not answer. */
      online?: boolean | null;
      role: components['schemas']['Role'];
    };
    /** @description The number of members. */
    MemberCount: {
      /** Format: int64 */
      count: number;
    };
    /** @description One page of a list. */
    MemberPage: {
      items: components['schemas']['Member'][];
      /** @description The cursor of the next page, `null` on the last page. */
      next: components['schemas']['Cursor'] | null;
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
    /** @description One page of a list. */
    MessagePage: {
      items: components['schemas']['MessageView'][];
      /** @description The cursor of the next page, `null` on the last page. */
      next: components['schemas']['Cursor'] | null;
    };
    /**
     * @description A message's text. Its length limit is separate, as operators can change it.
     * @example hello
     */
    MessageText: string;
    /** @description A message in its current state. */
    MessageView: components['schemas']['Message'] & {
      deletedAt?: components['schemas']['Timestamp'] | null;
      editedAt?: components['schemas']['Timestamp'] | null;
      reactions?: components['schemas']['Reactions'][];
      roomId: components['schemas']['RoomId'];
      /** Format: int64 */
      seq: number;
    };
    /** @description Request body of POST /room/{name}/file. */
    NewFile: {
      name: components['schemas']['FileName'];
      sha256?: components['schemas']['Sha256Hex'] | null;
      /** @description Size in bytes. */
      size: components['schemas']['SafeInteger'];
      type: components['schemas']['MediaType'];
    };
    /** @description Request body of POST /room/{name}/member: either the name of a user to add, or the password to join oneself. */
    NewMember: {
      name?: components['schemas']['UserName'] | null;
      password?: components['schemas']['ClaimedPassword'] | null;
    };
    /** @description Request body of POST /room/{name}/message. */
    NewMessage: {
      fileId?: components['schemas']['FileId'] | null;
      /** @description Idempotency key: a message sent again with the same id, by HTTP or by socket, is stored once. */
      id: components['schemas']['MessageId'];
      msg: string;
      replyTo?: components['schemas']['SafeInteger'] | null;
    };
    /**
     * Format: password
     * @description A new password of an account: 8 to 128 characters of any kind. A secret, so it is not printed.
     */
    NewPassword: string;
    /** @description Request body of POST /room. */
    NewRoom: {
      name: components['schemas']['RoomName'];
      password?: components['schemas']['RoomPassword'] | null;
      /** @description Visible to members only; others join by invitation or by the password. */
      private?: boolean | null;
      title?: components['schemas']['RoomTitle'] | null;
    };
    /** @description Request body of POST /room/{name}/broadcast. */
    Notice: {
      msg: string;
    };
    /** @description The caller in the room. */
    OwnMembership: {
      role: components['schemas']['Role'];
    };
    /** @description A user as others see them. `id` is verified by a token; `name` is chosen by the user. */
    Person: {
      id: components['schemas']['UserId'];
      name: components['schemas']['DisplayName'];
    };
    /** @description The body of every error response. */
    Problem: {
      /** @description For programs: stable, in kebab-case. */
      code: string;
      /** @description For people: what was refused, and what to do. */
      detail: string;
      /** @description The invalid fields of the body or the query. */
      errors?: components['schemas']['FieldError'][];
      /** Format: int32 */
      status: number;
      /** @description The reason phrase of the status. */
      title: string;
      /** @description Always `about:blank`, because `code` identifies the problem. */
      type: string;
    };
    /** @description How many users reacted with one emoji. */
    Reactions: {
      /** Format: int64 */
      count: number;
      emoji: components['schemas']['Emoji'];
      /** @description Whether the caller is one of them. */
      mine: boolean;
    };
    /** @description Whether the process should get requests, and which dependencies answer. */
    Readiness: {
      database: boolean;
      nats: boolean;
      /** @description Reasons for a status other than `ready`, for people. */
      reasons: string[];
      status: components['schemas']['ReadinessStatus'];
      storage: boolean;
    };
    /**
     * @description Whether the process should get requests.
     * @enum {string}
     */
    ReadinessStatus: 'ready' | 'degraded' | 'unavailable' | 'draining';
    /** @description Request body of POST /login/refresh. */
    Refresh: {
      /** @description Default: the cookie `refreshToken` that a login set. */
      refreshToken?: string | null;
    };
    /**
     * @description The role of a member in a room, from the fewest rights to the most.
     * @enum {string}
     */
    Role: 'member' | 'moderator' | 'owner';
    /** @description Request body of PATCH /room/{name}/member/{userId}. */
    RoleChange: {
      role: components['schemas']['Role'];
    };
    /** @description A room. */
    Room: {
      createdAt: components['schemas']['Timestamp'];
      creatorId: components['schemas']['UserId'];
      id: components['schemas']['RoomId'];
      name: string;
      /** @description Whether joining without an invitation requires the password. */
      passwordRequired: boolean;
      /** @description Visible to members only. */
      private: boolean;
      title?: string | null;
    };
    /** @description Request body of PATCH /room/{name}. Omitted fields stay unchanged; `null` removes title or password. */
    RoomChange: {
      password?: components['schemas']['RoomPassword'] | null;
      private?: boolean | null;
      title?: components['schemas']['RoomTitle'] | null;
    };
    /** @description Response of GET /room/{name}: what a client needs to join the room at a gateway. */
    RoomEntry: {
      /** @description URL of the Socket.IO gateway. */
      gateway: string;
      /**
       * Format: int64
       * @description The seq of the room's newest event.
       */
      head: number;
      members: components['schemas']['MemberCount'];
      room: components['schemas']['Room'];
      /** @description For one `join-room`. */
      ticket: string;
      /**
       * Format: int64
       * @description Lifetime of the ticket in seconds.
       */
      ticketExpiresIn: number;
      you: components['schemas']['OwnMembership'];
    };
    /**
     * Format: uuid
     * @description A room. Its text is also the last token of the room's NATS subjects.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    RoomId: string;
    /**
     * @description A room's name in URLs: 1 to 64 letters and digits of any script, `-` and `_`, NFC, unique without regard to
     *     case. Invisible characters only where a script needs them, such as joiners in Persian and Hindi.
     * @example lobby
     */
    RoomName: string;
    /** @description One page of a list. */
    RoomPage: {
      items: components['schemas']['ListedRoom'][];
      /** @description The cursor of the next page, `null` on the last page. */
      next: components['schemas']['Cursor'] | null;
    };
    /**
     * Format: password
     * @description A new password of a room: 1 to 128 characters. It may be shorter, because its members share it and it protects no
     *     account.
     */
    RoomPassword: string;
    /**
     * @description A room's title: 1 to 120 characters of any script, NFC, with a visible one.
     * @example The lobby
     */
    RoomTitle: string;
    /**
     * Format: int64
     * @description An integer from 0 to 2^53 - 1, the range that JavaScript keeps exact (RFC 8259, section 6). A number
     *     written with a fraction of zero, such as `7.0`, is the same JSON number and is accepted.
     */
    SafeInteger: number;
    /** @description Response of POST /room/{name}/message: where and when the message was stored. */
    SentMessage: {
      at: components['schemas']['Timestamp'];
      /** @description Whether the message had been stored by an earlier request. */
      duplicate: boolean;
      /** Format: int64 */
      seq: number;
    };
    /** @description Response of POST /room/{name}/broadcast. */
    SentNotice: {
      /**
       * Format: int64
       * @description The seq of the stored event.
       */
      seq: number;
    };
    /** @description A login that has not ended. */
    Session: {
      createdAt: components['schemas']['Timestamp'];
      /** @description Whether this is the session of the request. */
      current: boolean;
      id: components['schemas']['SessionId'];
      /** @description Time of the last token refresh, or of the login. */
      usedAt: components['schemas']['Timestamp'];
      /** @description `User-Agent` header of the last login or refresh. */
      userAgent?: string | null;
    };
    /**
     * Format: uuid
     * @description A login session: one family of refresh tokens.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    SessionId: string;
    /** @description One page of a list. */
    SessionPage: {
      items: components['schemas']['Session'][];
      /** @description The cursor of the next page, `null` on the last page. */
      next: components['schemas']['Cursor'] | null;
    };
    /** @description SHA-256 in hexadecimal. */
    Sha256Hex: string;
    /** @description Request body of POST /user. */
    SignUp: {
      displayName?: components['schemas']['DisplayName'] | null;
      name: components['schemas']['UserName'];
      password: components['schemas']['NewPassword'];
    };
    /**
     * Format: date-time
     * @description A point in time, truncated to the millisecond so that it is unchanged by the wire.
     * @example 2026-01-31T12:00:00.000Z
     */
    Timestamp: string;
    /** @description Access token and refresh token of a session. */
    Tokens: {
      accessToken: string;
      /**
       * Format: int64
       * @description Lifetime of the access token in seconds.
       */
      expiresIn: number;
      refreshToken: string;
      user: components['schemas']['User'];
    };
    /** @description The request that the client must send to the storage, with exactly these headers. */
    UploadRequest: {
      expiresAt: components['schemas']['Timestamp'];
      headers: {
        [key: string]: string;
      };
      method: string;
      url: string;
    };
    /** @description An account as its owner sees it. */
    User: {
      createdAt: components['schemas']['Timestamp'];
      displayName: string;
      id: components['schemas']['UserId'];
      name: string;
    };
    /**
     * Format: uuid
     * @description An account.
     * @example 01890a5d-ac96-774b-bcce-b302099a8057
     */
    UserId: string;
    /**
     * @description An account's name: 3 to 32 of `a-z 0-9 . _ -`, upper case folded to lower.
     * @example ada
     */
    UserName: string;
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: {
    /** @description The URL of the redirect. */
    location: string;
    /** @description Seconds to wait before the next try. */
    'retry-after': number;
    /** @description The authentication scheme (RFC 6750). */
    'www-authenticate': 'Bearer';
    /** @description The request's `x-request-id` if it matches the pattern, otherwise a new one. */
    'x-request-id': string;
  };
  pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
  get_public_keys: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': unknown;
        };
      };
    };
  };
  download_file: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: components['schemas']['FileId'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DownloadLink'];
        };
      };
      /** @description Found */
      302: {
        headers: {
          location: components['headers']['location'];
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  complete_file: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: components['schemas']['FileId'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['CompletedFile'];
        };
      };
    };
  };
  check_liveness: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Liveness'];
        };
      };
    };
  };
  log_in: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Login'];
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          /** @description Sets the cookie `refreshToken` */
          'set-cookie': string;
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Tokens'];
        };
      };
    };
  };
  refresh_tokens: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: {
        /** @description Set by a login. Used if the body has no `refreshToken`, and accepted only from a page of this server or of an allowed origin, according to `Origin` and `Sec-Fetch-Site` */
        refreshToken?: string | null;
      };
    };
    requestBody?: {
      content: {
        'application/json': components['schemas']['Refresh'];
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          /** @description Sets the cookie `refreshToken` */
          'set-cookie': string;
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Tokens'];
        };
      };
    };
  };
  log_out: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description No Content */
      204: {
        headers: {
          /** @description Deletes the cookie `refreshToken` */
          'set-cookie': string;
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  check_readiness: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Readiness'];
        };
      };
    };
  };
  list_rooms: {
    parameters: {
      query?: {
        /** @description A part of a room's name or title. */
        query?: string;
        /** @description Only rooms that the caller is a member of. */
        mine?: boolean;
        /** @description Default: `activity` with `mine=true`, otherwise `name`. `activity` requires `mine=true`. */
        sort?: 'activity' | 'name';
        cursor?: components['schemas']['Cursor'];
        limit?: components['schemas']['Limit'];
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RoomPage'];
        };
      };
    };
  };
  create_room: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewRoom'];
      };
    };
    responses: {
      /** @description Created */
      201: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Room'];
        };
      };
    };
  };
  enter_room: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RoomEntry'];
          'text/html': string;
        };
      };
    };
  };
  delete_room: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description No Content */
      204: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  update_room: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['RoomChange'];
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Room'];
        };
      };
    };
  };
  send_notice: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['Notice'];
      };
    };
    responses: {
      /** @description Accepted */
      202: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SentNotice'];
        };
      };
    };
  };
  declare_file: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewFile'];
      };
    };
    responses: {
      /** @description Created */
      201: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DeclaredFile'];
        };
      };
    };
  };
  list_members: {
    parameters: {
      query?: {
        /** @description `next` of the previous page. */
        cursor?: components['schemas']['Cursor'];
        limit?: components['schemas']['Limit'];
      };
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['MemberPage'];
        };
      };
    };
  };
  join_room: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewMember'];
      };
    };
    responses: {
      /** @description The user was a member already */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Member'];
        };
      };
      /** @description Created */
      201: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Member'];
        };
      };
    };
  };
  remove_member: {
    parameters: {
      query?: {
        /** @description Ban the user: they cannot join again until an owner or moderator adds them. */
        ban?: boolean;
      };
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
        userId: components['schemas']['UserId'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description No Content */
      204: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  change_role: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
        userId: components['schemas']['UserId'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['RoleChange'];
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Member'];
        };
      };
    };
  };
  list_messages: {
    parameters: {
      query?: {
        /** @description Only messages before this seq; `next` continues with older ones. */
        before?: components['schemas']['SafeInteger'];
        /** @description Only messages after this seq; `next` continues with newer ones. */
        after?: components['schemas']['SafeInteger'];
        /** @description `next` of the previous page, instead of `before` or `after`. */
        cursor?: components['schemas']['Cursor'];
        limit?: components['schemas']['Limit'];
      };
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          /** @description `archived` if NATS does not answer: messages that are not archived yet are missing */
          'x-history'?: string;
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['MessagePage'];
        };
      };
    };
  };
  send_message: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['NewMessage'];
      };
    };
    responses: {
      /** @description Created */
      201: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SentMessage'];
        };
      };
    };
  };
  search_messages: {
    parameters: {
      query: {
        /**
         * @description A part of a message's text. Upper and lower case, width and combining forms do not matter. One character is
         *     enough in Chinese, Japanese and Korean, and one emoji.
         */
        q: string;
        cursor?: components['schemas']['Cursor'];
        limit?: components['schemas']['Limit'];
      };
      header?: never;
      path: {
        name: components['schemas']['RoomName'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['MessagePage'];
        };
      };
    };
  };
  get_account: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['User'];
        };
      };
    };
  };
  sign_up: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['SignUp'];
      };
    };
    responses: {
      /** @description Created */
      201: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['User'];
        };
      };
    };
  };
  delete_account: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['AccountDeletion'];
      };
    };
    responses: {
      /** @description No Content */
      204: {
        headers: {
          /** @description Deletes the cookie `refreshToken` */
          'set-cookie': string;
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
  change_account: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['AccountChange'];
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['User'];
        };
      };
    };
  };
  export_account: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          /** @description A file name to save it under */
          'content-disposition': string;
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Export'];
        };
      };
    };
  };
  list_sessions: {
    parameters: {
      query?: {
        /** @description `next` of the previous page. */
        cursor?: components['schemas']['Cursor'];
        limit?: components['schemas']['Limit'];
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SessionPage'];
        };
      };
    };
  };
  end_session: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: components['schemas']['SessionId'];
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description No Content */
      204: {
        headers: {
          'x-request-id': components['headers']['x-request-id'];
          [name: string]: unknown;
        };
        content?: never;
      };
    };
  };
}
