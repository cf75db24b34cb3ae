//! Workloads: what the clients do to a server, and what is measured meanwhile.

mod archive;
mod fanout;
mod idle;
mod pages;
mod sample;
mod storms;

pub use self::{
    archive::{ArchiveSpeed, archive},
    fanout::{FanoutPlan, fanout, open_loop},
    idle::{IdleRooms, IdleSockets, idle, idle_rooms},
    pages::{FILLED_PAGES, PAGES, RequestCost, compare_with_bare, measure_logins, measure_page},
    sample::Sample,
    storms::{StormCost, join_storm, replay_storm},
};
