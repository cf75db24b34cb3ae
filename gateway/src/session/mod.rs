//! What an authenticated socket may do: pure rules, without I/O, clock or randomness. Events go in, actions
//! come out.

mod action;
mod membership;
mod rules;
mod state;

pub use self::{
    action::{Action, Moment, Needs},
    rules::{Rules, not_joined, token_refusal},
    state::Session,
};
