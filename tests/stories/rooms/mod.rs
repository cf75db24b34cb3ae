//! Rooms: creation, listing, deletion and joining.

mod create_list_delete;
mod joins;
mod list_order;
mod names;
