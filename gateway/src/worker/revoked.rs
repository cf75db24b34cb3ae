//! What a worker does when something is no longer valid, or may no longer be.

use std::time::Instant;

use protocol::{Code, RoomId, subject::Revoked};

use super::{SocketId, state::Worker};
use crate::session::Session;

impl Worker {
    /// Ends the sessions concerned.
    pub fn on_revoked(&mut self, revoked: Revoked) {
        let is_concerned = |session: &Session| match revoked {
            Revoked::Session(id) => session.session() == id,
            Revoked::User(id) => session.user() == id,
            // A room's task looks after these.
            Revoked::Room(_) | Revoked::Member(..) => false,
        };
        for id in self.sessions_that(is_concerned) {
            self.expire(id, Code::SessionRevoked);
        }
    }

    /// Has all sockets join their rooms again, which takes new tickets. A session that has shown no token since a moment
    /// may have been revoked: its socket connects again with a new one.
    pub fn prove_again(&mut self, shown_before: Option<Instant>) {
        if let Some(moment) = shown_before {
            for id in self.sessions_that(|session| session.shown_at() < moment) {
                self.expire(id, Code::TokenExpired);
            }
        }
        let rooms: Vec<RoomId> = self.room_keys.keys().copied().collect();
        for room in rooms {
            self.lag_all(room);
        }
    }

    fn sessions_that(&mut self, is_concerned: impl Fn(&Session) -> bool) -> Vec<SocketId> {
        let concerned = self.sockets.iter_mut().filter_map(|(index, socket)| {
            let generation = socket.generation;
            let is_concerned = socket.session().is_some_and(|session| is_concerned(session));
            is_concerned.then_some(SocketId { index: index as u32, generation })
        });
        concerned.collect()
    }
}
