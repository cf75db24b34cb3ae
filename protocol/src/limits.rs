//! Limits that functions and gateways must agree on: defaults of environment variables, and fixed bounds.

/// Characters of a user name.
pub const USER_NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
/// Characters of a password. The upper bound keeps argon2's input small.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// Characters of a display name.
pub const DISPLAY_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=40;
/// Characters of a room name.
pub const ROOM_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
/// Characters of a room title.
pub const ROOM_TITLE_CHARS: std::ops::RangeInclusive<usize> = 1..=120;
/// Characters of a file name: the usual limit of file systems.
pub const FILE_NAME_CHARS: std::ops::RangeInclusive<usize> = 1..=255;
/// Characters of a message, unless `LIMIT_MESSAGE_CHARS` is set.
pub const MESSAGE_CHARS: usize = 4_000;
/// Bytes of one WebSocket message from a client, unless `LIMIT_FRAME_BYTES` is set.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Maximum number of events that a rejoin replays. With more, the answer is `recovered: false`.
pub const REPLAY_EVENTS: usize = 1_000;
/// Maximum bytes of events that a rejoin replays: a thousand messages of two thousand characters of any script.
pub const REPLAY_BYTES: usize = 8 * 1024 * 1024;
/// Different emoji among the reactions to one message. Any number of users may react with each.
pub const REACTION_KINDS: usize = 20;
/// Users listed in the acknowledgement of `join-room`. Its `count` includes the others.
pub const ONLINE_USERS_LISTED: usize = 100;
/// Number of online users up to which `typing` and `read` are relayed in a room. In a bigger room their fan-out
/// would be quadratic, and they would be unreadable.
pub const LIVE_USERS: usize = 100;
/// Bytes of a file that is uploaded by a single PUT.
pub const SINGLE_PUT_BYTES: u64 = 8 * 1024 * 1024;
/// Lifetime of an access token in seconds, unless `ACCESS_TOKEN_SECONDS` is set.
pub const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;
/// Lifetime of a room ticket in seconds, unless `TICKET_SECONDS` is set.
pub const TICKET_SECONDS: i64 = 2 * 60;
/// Seconds for which a revocation is kept, in the bucket `revoked` and in every gateway. Longer than any token
/// lives: a token must expire before its revocation does.
pub const REVOKED_SECONDS: u64 = 3600;
/// The range of both lifetimes. Its end is below [`REVOKED_SECONDS`] by more than the difference of clocks plus
/// the time that a revocation takes to arrive.
pub const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 1..=REVOKED_SECONDS as i64 - 300;
/// Items of a page if the request has no `limit`.
pub const PAGE_DEFAULT: u32 = 50;
/// The largest `limit` of a page.
pub const PAGE_MAX: u32 = 200;
/// JetStream's dedupe window in seconds. A client retries a lost connection within seconds; ten minutes also
/// cover a laptop's short sleep. At 1,000 messages/s the window costs the server about 100 MB.
pub const DEDUPE_SECONDS: u64 = 10 * 60;
/// Maximum age of the time inside a message id (UUIDv7) for the message to be stored without looking up an
/// earlier attempt. For such a message, JetStream's dedupe alone must detect a duplicate. See
/// [`crate::MessageId::is_fresh`].
///
/// JetStream remembers an id for [`DEDUPE_SECONDS`] after it was first stored. If the client's clock is ahead,
/// the message may have been stored before the time in the id. So a retry can be stored twice only if the
/// client's clock is ahead by more than the difference of the two constants, 8 minutes. If the client's clock
/// is behind, a lookup is made that costs time, but the result is correct.
pub const FRESH_ID_SECONDS: u64 = 2 * 60;
/// How far the time inside a message id may be in the future for the message to be stored without a lookup.
/// Beyond it, the client's clock is not trusted.
pub const FRESH_ID_AHEAD_SECONDS: u64 = 60;

const _: () = assert!(DEDUPE_SECONDS >= FRESH_ID_SECONDS + 5 * 60, "a margin for clients' clocks");
