//! Sizes that both sides of the contract must agree on. What an operator may change is an
//! environment variable of the process that enforces it; these are its defaults and the hard bounds.

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
/// Characters of a reaction: a flag or a family is one emoji of several characters.
pub const EMOJI_CHARS: std::ops::RangeInclusive<usize> = 1..=16;
/// Characters of a message, unless `LIMIT_MESSAGE_CHARS` says otherwise.
pub const MESSAGE_CHARS: usize = 4_000;
/// Bytes of one WebSocket message from a client, unless `LIMIT_FRAME_BYTES` says otherwise.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Events that a rejoin replays before it says `recovered: false`.
pub const REPLAY_EVENTS: usize = 1_000;
/// Bytes that a rejoin replays before it says `recovered: false`: a thousand messages of two thousand
/// characters of any script.
pub const REPLAY_BYTES: usize = 8 * 1024 * 1024;
/// Different emoji by which users react to one message; who reacts with one that is there already is no
/// matter of it.
pub const REACTION_KINDS: usize = 20;
/// Users named in the acknowledgement of `join-room`; `count` counts the others too.
pub const ONLINE_USERS_LISTED: usize = 100;
/// Users online up to which `typing` and `read` are relayed in a room. In a bigger one nobody could
/// follow them, and everybody's would go to everybody.
pub const LIVE_USERS: usize = 100;
/// Bytes of a file that is uploaded by one PUT; larger ones go in parts.
pub const SINGLE_PUT_BYTES: u64 = 8 * 1024 * 1024;
/// Seconds of an access token's life, unless `ACCESS_TOKEN_SECONDS` says otherwise.
pub const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;
/// Seconds of a room ticket's life, unless `TICKET_SECONDS` says otherwise.
pub const TICKET_SECONDS: i64 = 2 * 60;
/// Seconds for which a revocation is kept: in the bucket `revoked` and in every gateway. Tokens must not outlive
/// the revocation of what they stand for.
pub const REVOKED_SECONDS: u64 = 3600;
/// What the two lifetimes may be set to: shorter than [`REVOKED_SECONDS`], by more than clocks differ and a
/// revocation is on its way.
pub const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 1..=REVOKED_SECONDS as i64 - 300;
/// Items of a page when the caller names no `limit`, and the most it may name.
pub const PAGE_DEFAULT: u32 = 50;
/// See [`PAGE_DEFAULT`].
pub const PAGE_MAX: u32 = 200;
/// Seconds during which JetStream knows a `Nats-Msg-Id` again. A client's retry after a lost
/// connection comes within seconds; ten minutes cover a laptop's short sleep, and at 1,000
/// messages/s cost the server some 100 MB.
pub const DEDUPE_SECONDS: u64 = 10 * 60;
/// How old the time inside a message id may be for the message to be stored without a look-up of an
/// earlier try: JetStream's dedupe is relied upon then. See [`crate::MessageId::is_fresh`].
///
/// JetStream knows an id for [`DEDUPE_SECONDS`] after it was stored first. That may have been before the
/// time inside the id, by as much as the client's clock is ahead. So the difference between the two,
/// 8 minutes here, is how far a client's clock may be ahead (with what servers' clocks differ, and the
/// seconds that a publish takes) before a late retry is stored twice. A client whose clock is behind by
/// more than 2 minutes has each of its messages looked up: slower, never wrong. A retry after a lost
/// connection comes within seconds, so few need more.
pub const FRESH_ID_SECONDS: u64 = 2 * 60;
/// How far the time inside a message id may be ahead of ours for the same. Beyond it the clock that
/// made it is not to be trusted.
pub const FRESH_ID_AHEAD_SECONDS: u64 = 60;

const _: () = assert!(DEDUPE_SECONDS >= FRESH_ID_SECONDS + 5 * 60, "a margin for clients' clocks");
