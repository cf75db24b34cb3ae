//! The sockets of a worker.

use std::rc::Rc;

use bytes::Bytes;
use protocol::{
    Code, RoomId,
    code::Refusal,
    event::{Done, ServerEvent, encode_ack},
};
use slab::Slab;
use tokio::sync::Notify;

use super::{
    flush::FlushQueue,
    socket::{Flushed, OutgoingItem, Pause, RoomLogs, Socket, TooMuch},
};
use crate::{
    memory::Budget,
    session::Session,
    wire::{
        sid::{Sid, SocketId},
        ws,
    },
};

/// See the module. Queueing a frame for a socket also marks the socket for flushing.
pub struct Sockets {
    slots: Slab<Slot>,
    /// The generation of the newest socket. It distinguishes a socket from an earlier one at the same index.
    generation: u32,
    flush: FlushQueue<SocketId>,
    budget: Budget,
    writes: metrics::Counter,
    sent: metrics::Counter,
    /// Events that NATS has not acknowledged yet.
    outgoing: metrics::Gauge,
}

struct Slot {
    generation: u32,
    is_marked: bool,
    socket: Socket,
}

impl Sockets {
    /// No sockets. `wake` wakes the task that flushes.
    pub fn new(wake: Rc<Notify>, budget: Budget) -> Self {
        Self {
            slots: Slab::new(),
            generation: 0,
            flush: FlushQueue::new(wake),
            budget,
            writes: metrics::counter!("chat_gateway_writes_total"),
            sent: metrics::counter!("chat_gateway_sent_bytes_total"),
            outgoing: metrics::gauge!("chat_gateway_outgoing_events"),
        }
    }

    /// Adds a socket.
    pub fn insert(&mut self, socket: Socket) -> SocketId {
        let transport = socket.transport().name();
        metrics::gauge!("chat_gateway_sockets", "transport" => transport).increment(1);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(Slot { generation, is_marked: false, socket }) as u32;
        SocketId { index, generation }
    }

    /// Removes a socket. Events that a task has taken from its queue are still published.
    pub fn remove(&mut self, id: SocketId) {
        if self.slot_mut(id).is_none() {
            return;
        }
        let Slot { mut socket, .. } = self.slots.remove(id.index as usize);
        let transport = socket.transport().name();
        metrics::gauge!("chat_gateway_sockets", "transport" => transport).decrement(1);
        self.outgoing.decrement(socket.publishing_mut().queued() as f64);
        socket.transport_mut().stop_reading();
        socket.stats().report(transport);
    }

    fn slot_mut(&mut self, id: SocketId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)
    }

    /// The socket, unless it was removed.
    pub fn get(&self, id: SocketId) -> Option<&Socket> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation).then_some(&slot.socket)
    }

    /// See [`Self::get`].
    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.slot_mut(id).map(|slot| &mut slot.socket)
    }

    /// The session of a socket that is authenticated.
    pub fn session_mut(&mut self, id: SocketId) -> Option<&mut Session> {
        self.get_mut(id)?.session_mut()
    }

    /// The condition to wait for before a socket is read from again; none if it can be read from now.
    pub fn pause(&mut self, id: SocketId) -> Option<Pause> {
        self.get_mut(id)?.pause()
    }

    /// Queues an event to be published. True when a task must be started that publishes the socket's events.
    pub fn queue_event(&mut self, id: SocketId, item: OutgoingItem) -> bool {
        let Some(socket) = self.get_mut(id) else { return false };
        let ack = item.ack;
        match socket.publishing_mut().push(item) {
            Ok(starts) => {
                self.outgoing.increment(1.0);
                starts
            }
            Err(_) => {
                let detail = "the gateway's memory is short; try again";
                self.acknowledge(id, ack, Err(Refusal::new(Code::Busy, detail)));
                false
            }
        }
    }

    /// Acknowledges an event of `size` bytes that was stored, sent or refused.
    pub fn finish_event(
        &mut self,
        id: SocketId,
        size: usize,
        ack: Option<u64>,
        outcome: Result<Done, Refusal>,
    ) {
        self.outgoing.decrement(1.0);
        if let Some(socket) = self.get_mut(id) {
            socket.publishing_mut().finish(size);
            self.acknowledge(id, ack, outcome);
        }
    }

    /// The socket of a session id.
    pub fn find(&self, sid: Sid) -> Option<SocketId> {
        self.get(sid.socket).filter(|socket| socket.secret() == sid.secret).map(|_| sid.socket)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All sockets for which `filter` holds.
    pub fn ids(&self, filter: impl Fn(&Socket) -> bool) -> Vec<SocketId> {
        let slots = self.slots.iter().filter(|(_, slot)| filter(&slot.socket));
        let id = |(index, slot): (usize, &Slot)| SocketId {
            index: index as u32,
            generation: slot.generation,
        };
        slots.map(id).collect()
    }

    /// All sockets with a session for which `filter` holds.
    pub fn ids_of_sessions(&self, filter: impl Fn(&Session) -> bool) -> Vec<SocketId> {
        self.ids(|socket| socket.session().is_some_and(&filter))
    }

    /// Marks a socket for flushing at the end of this turn.
    pub fn mark(&mut self, id: SocketId) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.generation == id.generation
        {
            self.flush.add(id, &mut slot.is_marked);
        }
    }

    /// Queues a frame for one socket.
    pub fn push(&mut self, id: SocketId, frame: Bytes) {
        if let Some(socket) = self.get_mut(id) {
            socket.backlog_mut().push(frame);
            self.mark(id);
        }
    }

    /// Queues frames that share memory with a room's batch.
    pub fn push_shared(&mut self, id: SocketId, frames: impl Iterator<Item = Bytes>) {
        if let Some(socket) = self.get_mut(id) {
            frames.for_each(|frames| socket.backlog_mut().push_shared(frames));
            self.mark(id);
        }
    }

    /// Queues an event for one socket.
    pub fn emit(&mut self, id: SocketId, event: &ServerEvent) {
        metrics::counter!("chat_gateway_events_out_total", "event" => event.name()).increment(1);
        self.push(id, ws::text(&["42", &event.encode()]));
    }

    /// Queues the acknowledgement of an event, if its client requested one.
    pub fn acknowledge(&mut self, id: SocketId, ack: Option<u64>, outcome: Result<Done, Refusal>) {
        if let Err(refusal) = &outcome {
            count_refusal(refusal);
        }
        let is_connected = self.get(id).is_some_and(|socket| socket.session().is_some());
        match ack {
            Some(ack) if is_connected => {
                let body = encode_ack(&outcome);
                self.push(id, ws::text(&["43", &ack.to_string(), "[", &body, "]"]));
            }
            // Flushing also resumes reading.
            _ => self.mark(id),
        }
    }

    /// Completes a join that the room refused.
    pub fn refuse_join(&mut self, id: SocketId, room: RoomId, ack: Option<u64>, refusal: Refusal) {
        if let Some(socket) = self.get_mut(id) {
            socket.gate_mut().end_join();
            if let Some(session) = socket.session_mut() {
                session.forget(room);
            }
        }
        self.acknowledge(id, ack, Err(refusal));
    }

    /// Refuses to connect a socket to the namespace.
    pub fn refuse_connect(&mut self, id: SocketId, refusal: &Refusal) {
        count_refusal(refusal);
        let error = serde_json::json!({ "message": refusal.detail, "data": refusal });
        self.push(id, ws::text(&["44", &error.to_string()]));
    }

    /// Takes the marked sockets, for [`Self::flush`].
    pub fn take_marked(&mut self) -> Vec<SocketId> {
        self.flush.take()
    }

    /// Sends a socket's backlog. None if the socket is blocked or was removed.
    pub fn flush(
        &mut self,
        id: SocketId,
        logs: &impl RoomLogs,
    ) -> Result<Option<Flushed>, TooMuch> {
        let Some(slot) = self.slots.get_mut(id.index as usize) else { return Ok(None) };
        if slot.generation != id.generation {
            return Ok(None);
        }
        slot.is_marked = false;
        let socket = &mut slot.socket;
        let before = socket.stats().sent();
        let flushed = match socket.transport().is_blocked() {
            true => None,
            false => Some(socket.flush(logs, &self.writes, &self.budget)),
        };
        self.sent.increment(socket.stats().sent() - before);
        // Also for a blocked socket, whose backlog grows too.
        socket.backlog_mut().reserve()?;
        socket.resume();
        Ok(flushed)
    }
}

fn count_refusal(refusal: &Refusal) {
    metrics::counter!("chat_gateway_refusals_total", "code" => refusal.code.as_str()).increment(1);
}
