//! Writing to the sockets, at the end of each turn.

use std::{rc::Rc, time::Duration};

use protocol::RoomId;
use tokio::net::TcpStream;

use super::{WeakWorker, Worker};
use crate::{wire::sid::SocketId, worker::socket::Flushed};

impl Worker {
    /// Writes the backlog of every marked socket, then trims the frame logs of marked rooms.
    pub fn flush(&mut self) {
        for id in self.sockets.take_marked() {
            self.flush_socket(id);
        }
        self.rooms.trim_marked(&mut self.sockets);
    }

    /// Sends a socket's backlog.
    pub fn flush_socket(&mut self, id: SocketId) {
        match self.sockets.flush(id, &self.rooms) {
            Ok(None) => {}
            Ok(Some(Flushed::All)) => {
                if let Some(socket) = self.sockets.get(id)
                    && socket.is_closing()
                    && socket.backlog().is_outbox_empty()
                {
                    socket.transport().shutdown_write();
                }
            }
            Ok(Some(Flushed::Blocked)) => {
                self.rooms.block(id, &mut self.sockets);
                // The next poll unblocks a socket of the other transport.
                if let Some(stream) = self.sockets.get(id).and_then(|s| s.transport().stream()) {
                    unblock_when_writable(self.me.clone(), id, stream.clone());
                }
            }
            Ok(Some(Flushed::Broken | Flushed::Ended)) => self.remove(id, None),
            Err(too_much) => self.remove(id, Some(too_much.0)),
        }
    }
}

/// Marks the sockets of a room for flushing after `hold`.
pub fn release_after(worker: WeakWorker, hold: Duration, room: RoomId) {
    tokio::task::spawn_local(async move {
        tokio::time::sleep(hold).await;
        let Some(worker) = worker.upgrade() else { return };
        let Worker { rooms, sockets, .. } = &mut *worker.borrow_mut();
        // Does nothing if the room was deleted in the meantime.
        rooms.release(room, sockets);
    });
}

/// Flushes a blocked socket again once it is writable.
pub fn unblock_when_writable(worker: WeakWorker, id: SocketId, stream: Rc<TcpStream>) {
    tokio::task::spawn_local(async move {
        // The next write reports the error.
        let _ = stream.writable().await;
        let Some(worker) = worker.upgrade() else { return };
        let Worker { rooms, sockets, .. } = &mut *worker.borrow_mut();
        rooms.unblock(id, sockets);
    });
}
