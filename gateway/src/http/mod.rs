//! The gateway's HTTP side: Engine.IO handshakes, long-polling requests and health checks. It passes
//! connections and packets to the workers and holds no socket itself.

mod handshake;
mod origin;
mod polling;
mod readiness;
mod refusal;
mod router;
mod state;
mod websocket;

pub use self::{
    readiness::Readiness,
    router::{router, socket_router},
    state::{HttpState, Shared},
};
