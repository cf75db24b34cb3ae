//! Finds the task of a room, and starts it for the first who asks.

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
    mailbox::{Mailbox, NotTaken},
};

/// The rooms that have sockets on this gateway, or had some a moment ago.
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

struct Inner {
    homes: Vec<(Handle, Arc<Context>)>,
    rooms: Mutex<HashMap<RoomId, Mailbox>>,
}

impl Rooms {
    /// Rooms that are spread over these threads, at least one.
    pub fn new(homes: impl IntoIterator<Item = (Handle, Context)>) -> Self {
        let homes = homes.into_iter().map(|(thread, context)| (thread, Arc::new(context)));
        Self(Arc::new(Inner { homes: homes.collect(), rooms: Mutex::default() }))
    }

    fn home(&self, room: RoomId) -> &(Handle, Arc<Context>) {
        let homes = &self.0.homes;
        &homes[(room.as_uuid().as_u128() % homes.len() as u128) as usize]
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Mailbox>> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a command to a room, never waiting. The command comes back when the room's mailbox is
    /// full.
    pub fn send(&self, room: RoomId, mut command: RoomCommand) -> Result<(), RoomCommand> {
        let mut rooms = self.lock();
        if let Some(mailbox) = rooms.get(&room) {
            match mailbox.command(command) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Full(command)) => return Err(command),
                // It ended in this moment.
                Err(NotTaken::Closed(returned)) => command = returned,
            }
        }
        if !matches!(command, RoomCommand::Join { .. }) {
            // Nobody is in a room that has ended.
            return Ok(());
        }
        let mailbox = Mailbox::default();
        let sent = mailbox.command(command);
        rooms.insert(room, mailbox.clone());
        metrics::gauge!("gateway_rooms").set(rooms.len() as f64);
        let (thread, context) = self.home(room);
        thread.spawn(self.clone().run(room, context.clone(), mailbox));
        sent.map_err(|(NotTaken::Full(command) | NotTaken::Closed(command))| command)
    }

    async fn run(self, room: RoomId, context: Arc<Context>, mailbox: Mailbox) {
        let _closing = mailbox.close_when_dropped();
        super::task::run(room, context, mailbox).await;
        let mut rooms = self.lock();
        if rooms.get(&room).is_some_and(Mailbox::is_closed) {
            rooms.remove(&room);
        }
        metrics::gauge!("gateway_rooms").set(rooms.len() as f64);
    }

    /// Tells all rooms that a gateway is gone.
    pub fn lost(&self, gateway: GatewayId) {
        for mailbox in self.lock().values() {
            if mailbox.command(RoomCommand::GatewayLost { gateway }).is_err() {
                tracing::warn!(%gateway, "a room was too busy to hear that a gateway is gone");
            }
        }
    }
}
