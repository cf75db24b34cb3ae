//! The rules for an authenticated socket, without I/O, clock or randomness: a session takes events and returns
//! actions.

mod action;
mod membership;
mod rules;
mod state;

pub use self::{
    action::{Action, Moment, Needs},
    rules::{Rules, not_joined, token_refusal},
    state::Session,
};
