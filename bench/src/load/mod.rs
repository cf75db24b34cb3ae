//! The load generator: one thread, raw frames, epoll.

mod crowd;
mod dialect;
mod pool;
mod tally;

pub use self::{
    crowd::{Crowd, Plan},
    dialect::Dialect,
};
