//! Routing of commands to the worker's parts.

use protocol::Code;

use super::{Worker, flush};
use crate::{
    command::WorkerCommand,
    session::Session,
    worker::{draining::Draining, socket::Transport},
};

impl Worker {
    /// Performs a command.
    pub fn on_command(&mut self, command: WorkerCommand) {
        match command {
            WorkerCommand::Accept { opening, stream, received } => {
                self.accept(opening, stream, &received);
            }
            WorkerCommand::OpenPolling { opening, respond } => {
                self.open(opening, Transport::polling(respond));
            }
            WorkerCommand::Poll { sid, respond } => {
                self.on_request(sid, |socket, _| socket.transport_mut().poll(respond));
            }
            WorkerCommand::BeginPost { sid, respond } => {
                self.on_request(sid, |socket, context| {
                    let limit = context.max_message(socket.is_limited());
                    socket.transport_mut().begin_post(limit, respond).map(|()| false)
                });
            }
            WorkerCommand::Post { sid, body, posting, respond } => {
                self.post(sid, body, posting, respond);
            }
            WorkerCommand::Aborted { sid } => self.aborted(sid),
            WorkerCommand::Find { sid, respond } => {
                if self.sockets.find(sid).is_some() {
                    // The client may have hung up.
                    let _ = respond.send(());
                }
            }
            WorkerCommand::Upgrade { sid, stream, received } => {
                self.upgrade(sid, stream, &received);
            }
            WorkerCommand::Joined(joined) => self.rooms.join(joined, &mut self.sockets),
            WorkerCommand::JoinRefused { socket, room, ack, refusal } => {
                self.sockets.refuse_join(socket, room, ack, refusal);
            }
            WorkerCommand::Deliver { room, batch } => {
                if let Some(hold) = self.rooms.deliver(room, batch, &mut self.sockets) {
                    flush::release_after(self.me.clone(), hold, room);
                }
            }
            WorkerCommand::DeliverTo { room, user, frame } => {
                self.rooms.push_to_user(room, user, &frame, &mut self.sockets);
            }
            WorkerCommand::Member { room, user, state } => {
                self.rooms.member_changed(room, user, state, &mut self.sockets);
            }
            WorkerCommand::Lag { room } => self.rooms.lag_all(room, &mut self.sockets),
            WorkerCommand::Close { room, batch } => {
                self.rooms.close(room, batch, &mut self.sockets);
            }
            WorkerCommand::Revoked(revoked) => {
                self.expire_sessions(Code::SessionRevoked, |session| session.is_ended_by(revoked));
            }
            WorkerCommand::Reauthenticate { shown_before } => {
                if let Some(moment) = shown_before {
                    let is_old = |session: &Session| session.shown_at() < moment;
                    self.expire_sessions(Code::TokenExpired, is_old);
                }
                self.rooms.lag_everywhere(&mut self.sockets);
            }
            WorkerCommand::Drain { deadline, within } => {
                let sockets = self.sockets.ids(|_| true);
                self.draining = Some(Draining::start(deadline, within, &sockets, &mut self.timers));
            }
        }
    }

    /// Ends the sessions for which `filter` holds.
    fn expire_sessions(&mut self, code: Code, filter: impl Fn(&Session) -> bool) {
        for id in self.sockets.ids_of_sessions(filter) {
            self.expire(id, code);
        }
    }
}
