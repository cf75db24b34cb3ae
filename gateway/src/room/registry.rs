//! Finds the task of a room, and starts it for the first join.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::RoomId;
use tokio::runtime::Handle;

use super::Context;
use crate::{
    command::RoomCommand,
    ephemeral::GatewayId,
    mailbox::{Mailbox, RefusedCommand},
};

/// The room tasks of this gateway by room id. Clones share them.
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

struct Inner {
    threads: Vec<(Handle, Arc<Context>)>,
    rooms: Mutex<HashMap<RoomId, Mailbox>>,
}

impl Rooms {
    /// An empty registry. `threads` run the room tasks; there is at least one.
    pub fn new(threads: impl IntoIterator<Item = (Handle, Context)>) -> Self {
        let threads = threads.into_iter().map(|(thread, context)| (thread, Arc::new(context)));
        Self(Arc::new(Inner { threads: threads.collect(), rooms: Mutex::default() }))
    }

    fn home(&self, room: RoomId) -> &(Handle, Arc<Context>) {
        let threads = &self.0.threads;
        &threads[(room.as_uuid().as_u128() % threads.len() as u128) as usize]
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Mailbox>> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command to a room without waiting. Returns the command if the room's mailbox is full.
    pub fn send(&self, room: RoomId, mut command: RoomCommand) -> Result<(), RoomCommand> {
        let mut rooms = self.lock();
        if let Some(mailbox) = rooms.get(&room) {
            match mailbox.command(command) {
                Ok(()) => return Ok(()),
                Err(RefusedCommand::Full(command)) => return Err(command),
                // The room has just ended.
                Err(RefusedCommand::Closed(returned)) => command = returned,
            }
        }
        if !matches!(command, RoomCommand::Join { .. }) {
            // All commands but joins concern sockets in the room, and a room that has ended has none.
            return Ok(());
        }
        let mailbox = Mailbox::default();
        let sent = mailbox.command(command);
        rooms.insert(room, mailbox.clone());
        metrics::gauge!("chat_gateway_rooms").set(rooms.len() as f64);
        let (thread, context) = self.home(room);
        thread.spawn(self.clone().run(room, context.clone(), mailbox));
        sent.map_err(|(RefusedCommand::Full(command) | RefusedCommand::Closed(command))| command)
    }

    async fn run(self, room: RoomId, context: Arc<Context>, mailbox: Mailbox) {
        let _closing = mailbox.close_on_drop();
        super::task::run(room, context, mailbox).await;
        let mut rooms = self.lock();
        if rooms.get(&room).is_some_and(Mailbox::is_closed) {
            rooms.remove(&room);
        }
        metrics::gauge!("chat_gateway_rooms").set(rooms.len() as f64);
    }

    /// Sends all rooms a command that another gateway has stopped or failed.
    pub fn gateway_lost(&self, gateway: GatewayId) {
        for mailbox in self.lock().values() {
            if mailbox.command(RoomCommand::GatewayLost { gateway }).is_err() {
                tracing::warn!(%gateway, "a room's mailbox is full: users of a lost gateway stay online in it");
            }
        }
    }
}
