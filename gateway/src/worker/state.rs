//! What a worker holds, and how what it is told changes it.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
};

use bytes::Bytes;
use protocol::{
    RoomId, Seq, UserId,
    code::Refusal,
    event::{Done, ServerEvent, encode_ack},
};
use slab::Slab;
use tokio::sync::Notify;

use super::{
    Context, SocketId,
    clock::{Clock, Started},
    connection::Draining,
    log::FrameLog,
    socket::{Place, Socket},
};
use crate::{
    command::{self, RoomCommand, WorkerCommand},
    memory::Budget,
    session::not_joined,
    wire::ws,
};

/// A room that has sockets on this worker.
pub struct LocalRoom {
    pub id: RoomId,
    pub log: FrameLog,
    pub members: Vec<SocketId>,
    /// Members that take no more for now. Without any, all have all after a turn's flush.
    pub(super) blocked: usize,
    pub(super) dirty: bool,
    /// Frames since the sockets were last told to be written.
    pub(super) pending: usize,
    /// The last time, there was more than one.
    pub(super) busy: bool,
    /// Its frames wait a moment for more.
    pub(super) held: bool,
}

impl LocalRoom {
    fn new(id: RoomId, last: Seq) -> Self {
        Self {
            id,
            log: FrameLog::new(last),
            members: Vec::new(),
            blocked: 0,
            dirty: false,
            pending: 0,
            busy: false,
            held: false,
        }
    }
}

/// What is counted for every delivery, looked up once.
pub(super) struct Meters {
    pub deliveries: metrics::Counter,
    pub writes: metrics::Counter,
    pub received: metrics::Counter,
    pub sent: metrics::Counter,
    /// Events that NATS has yet to take or acknowledge.
    pub outgoing: metrics::Gauge,
}

impl Meters {
    fn new() -> Self {
        Self {
            deliveries: metrics::counter!("gateway_deliveries_total"),
            writes: metrics::counter!("gateway_writes_total"),
            received: metrics::counter!("gateway_received_bytes_total"),
            sent: metrics::counter!("gateway_sent_bytes_total"),
            outgoing: metrics::gauge!("gateway_outgoing_events"),
        }
    }
}

/// See the module.
pub struct Worker {
    pub(super) index: usize,
    context: Context,
    pub(super) me: Weak<RefCell<Self>>,
    pub(super) sockets: Slab<Socket>,
    pub(super) generation: u32,
    pub(super) rooms: Slab<LocalRoom>,
    pub(super) room_keys: HashMap<RoomId, usize>,
    pub(super) dirty_sockets: Vec<SocketId>,
    pub(super) dirty_rooms: Vec<usize>,
    pub(super) flush: Rc<Notify>,
    pub(super) started: Started,
    pub(super) clock: Clock,
    pub(super) draining: Option<Draining>,
    pub(super) meters: Meters,
    pub(super) budget: Budget,
    /// What is being read; idle sockets hold no buffer.
    pub(super) chunk: Vec<u8>,
    /// Commands that a room's mailbox had no place for, sent again at the next tick.
    unsent: Vec<(RoomId, RoomCommand)>,
}

impl Worker {
    pub fn new(index: usize, context: Context, flush: Rc<Notify>) -> Rc<RefCell<Self>> {
        let budget = context.budget.clone();
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                index,
                context,
                me: me.clone(),
                sockets: Slab::new(),
                generation: 0,
                rooms: Slab::new(),
                room_keys: HashMap::new(),
                dirty_sockets: Vec::new(),
                dirty_rooms: Vec::new(),
                flush,
                started: Started::now(),
                clock: Clock::default(),
                draining: None,
                meters: Meters::new(),
                budget,
                chunk: Vec::new(),
                unsent: Vec::new(),
            })
        })
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The socket, unless it is gone.
    pub fn socket(&mut self, id: SocketId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?;
        (socket.generation == id.generation).then_some(socket)
    }

    pub fn on_command(&mut self, command: WorkerCommand) {
        match command {
            WorkerCommand::Accept { opening, stream, received } => {
                self.accept(opening, stream, &received);
            }
            WorkerCommand::OpenPolling { opening, respond } => self.open_polling(opening, respond),
            WorkerCommand::Poll { sid, respond } => self.poll(sid, respond),
            WorkerCommand::BeginPost { sid, respond } => self.begin_post(sid, respond),
            WorkerCommand::Post { sid, body, posting, respond } => {
                self.post(sid, body, posting, respond)
            }
            WorkerCommand::Find { sid, respond } => {
                if self.find(sid).is_some() {
                    // Who asked may have hung up.
                    let _ = respond.send(());
                }
            }
            WorkerCommand::Upgrade { sid, stream, received } => {
                self.upgrade(sid, stream, &received)
            }
            WorkerCommand::Joined(command::Joined {
                socket,
                room,
                user,
                last,
                replay,
                ack,
                done,
            }) => {
                self.joined(socket, room, user, last, replay, ack, done);
            }
            WorkerCommand::JoinRefused { socket, room, ack, refusal } => {
                if let Some(socket) = self.socket(socket) {
                    socket.joining = socket.joining.saturating_sub(1);
                    socket.session().into_iter().for_each(|session| session.forget(room));
                }
                self.acknowledge(socket, ack, Err(refusal));
            }
            WorkerCommand::Deliver { room, batch } => self.deliver(room, batch),
            WorkerCommand::DeliverTo { room, user, frame } => self.push_to_user(room, user, &frame),
            WorkerCommand::Member { room, user, state } => self.member_changed(room, user, state),
            WorkerCommand::Lag { room } => self.lag_all(room),
            WorkerCommand::Close { room, batch } => self.close_room(room, batch),
            WorkerCommand::Revoked(revoked) => self.on_revoked(revoked),
            WorkerCommand::Reauthenticate { shown_before } => self.prove_again(shown_before),
            WorkerCommand::Drain { deadline, within } => self.drain(deadline, within),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn joined(
        &mut self,
        id: SocketId,
        room: RoomId,
        user: UserId,
        last: Seq,
        replay: Vec<Bytes>,
        ack: Option<u64>,
        done: Done,
    ) {
        self.detach(id, room);
        let Some(socket) = self.socket(id) else {
            return self.tell_room(room, RoomCommand::Leave { worker: self.index, user });
        };
        socket.joining = socket.joining.saturating_sub(1);
        let joined =
            socket.session().ok_or_else(not_joined).and_then(|session| session.joined(room));
        if let Err(refusal) = joined {
            self.acknowledge(id, ack, Err(refusal));
            return self.tell_room(room, RoomCommand::Leave { worker: self.index, user });
        }
        let rooms = &mut self.rooms;
        let key =
            *self.room_keys.entry(room).or_insert_with(|| rooms.insert(LocalRoom::new(room, last)));
        let local = &mut self.rooms[key];
        let (cursor, slot) = (local.log.end(), local.members.len());
        local.members.push(id);
        if let Some(socket) = self.sockets.get_mut(id.index as usize) {
            local.blocked += usize::from(socket.blocked);
            socket.places.push(Place { room: key, cursor, slot });
            replay.into_iter().for_each(|frames| socket.push_shared(frames));
        }
        self.acknowledge(id, ack, Ok(done));
    }

    /// Takes a socket out of a room, if it is in it.
    pub fn detach(&mut self, id: SocketId, room: RoomId) {
        let Some(&key) = self.room_keys.get(&room) else { return };
        let Some(socket) = self.socket(id) else { return };
        let Some(index) = socket.places.iter().position(|place| place.room == key) else { return };
        let place = socket.places.swap_remove(index);
        let user = socket.session().map(|session| session.user());
        let blocked = socket.blocked;
        let local = &mut self.rooms[key];
        local.blocked -= usize::from(blocked);
        local.members.swap_remove(place.slot);
        // The last member took the place of this one.
        if let Some(moved) = local.members.get(place.slot)
            && let Some(moved) = self.sockets.get_mut(moved.index as usize)
            && let Some(moved) = moved.places.iter_mut().find(|moved| moved.room == key)
        {
            moved.slot = place.slot;
        }
        if local.members.is_empty() {
            self.rooms.remove(key);
            self.room_keys.remove(&room);
        }
        if let Some(user) = user {
            self.tell_room(room, RoomCommand::Leave { worker: self.index, user });
        }
    }

    /// Takes a socket out of all its rooms.
    pub fn detach_all(&mut self, id: SocketId) {
        let places = self.socket(id).map(|socket| socket.places.clone()).unwrap_or_default();
        for place in places {
            if let Some(room) = self.rooms.get(place.room).map(|room| room.id) {
                self.detach(id, room);
            }
        }
    }

    /// Tells a room something that must not be lost.
    pub fn tell_room(&mut self, room: RoomId, command: RoomCommand) {
        if let Err(command) = self.context.rooms.send(room, command) {
            self.unsent.push((room, command));
        }
    }

    pub fn send_unsent(&mut self) {
        for (room, command) in std::mem::take(&mut self.unsent) {
            self.tell_room(room, command);
        }
    }

    /// Queues the acknowledgement of an event that asked for one.
    pub fn acknowledge(&mut self, id: SocketId, ack: Option<u64>, outcome: Result<Done, Refusal>) {
        if let Err(refusal) = &outcome {
            metrics::counter!("gateway_refusals_total", "code" => refusal.code.as_str())
                .increment(1);
        }
        let connected = self.socket(id).and_then(Socket::session).is_some();
        if let (Some(ack), true) = (ack, connected) {
            let body = encode_ack(&outcome);
            self.push(id, ws::text(&["43", &ack.to_string(), "[", &body, "]"]));
        } else {
            self.mark_dirty(id);
        }
    }

    /// Queues an event for one socket.
    pub fn emit(&mut self, id: SocketId, event: &ServerEvent) {
        metrics::counter!("gateway_events_out_total", "event" => event.name()).increment(1);
        self.push(id, ws::text(&["42", &event.encode()]));
    }

    /// Queues a frame for one socket.
    pub fn push(&mut self, id: SocketId, frame: Bytes) {
        if let Some(socket) = self.socket(id) {
            socket.push(frame);
            self.mark_dirty(id);
        }
    }

    /// Queues frames of a room's batch for one socket.
    pub fn push_shared(&mut self, id: SocketId, frames: Bytes) {
        if let Some(socket) = self.socket(id) {
            socket.push_shared(frames);
            self.mark_dirty(id);
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self) {
        for (id, due) in self.clock.take_due(self.started.elapsed()) {
            self.on_due(id, due);
        }
    }
}
