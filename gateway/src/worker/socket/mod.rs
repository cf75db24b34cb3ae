//! One socket: its transport, the handler of its messages, and its backlog. Each part keeps its own invariants;
//! a [`Socket`] combines them.

mod backlog;
mod chat;
mod echo;
mod gate;
mod handler;
mod intake;
mod outbox;
mod publishing;
mod reaction;
mod state;
mod stats;
mod transport;

pub use self::{
    backlog::{Place, RoomKey, RoomLogs},
    chat::Chat,
    echo::Echo,
    gate::Pause,
    handler::Handler,
    intake::Intake,
    outbox::TooMuch,
    publishing::{OutgoingEvent, OutgoingItem},
    reaction::Reaction,
    state::Socket,
    transport::{Flushed, Transport},
};
