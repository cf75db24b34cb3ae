//! What an operator reads with `chatctl`. What an operator changes is in the modules that requests use too, so it emits
//! the same events and revocations.

mod bans;
mod rooms;
mod sessions;
mod stats;
mod users;

pub use self::{
    bans::{BanEntry, bans},
    rooms::{FoundRoom, RoomDetails, RoomEntry, RoomMemberEntry, find_room, room_details, rooms},
    sessions::{SessionEntry, sessions},
    stats::{Stats, stats},
    users::{FoundUser, UserDetails, UserEntry, UserRoomEntry, find_user, user_details, users},
};
