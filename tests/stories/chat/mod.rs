//! Conversations over sockets: messages, presence, and the events beside messages.

mod conversation;
mod presence;
mod socket_events;
