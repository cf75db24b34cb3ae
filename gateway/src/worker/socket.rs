//! One socket: what is to be written to it and how far it is in each of its rooms.

use std::{
    io::{self, IoSlice},
    rc::Rc,
    sync::Weak,
    time::Instant,
};

use bytes::Bytes;
use protocol::{UserId, rate::Rate};
use service::admission::Admitted;
use slab::Slab;
use tokio::{net::TcpStream, sync::oneshot, task::AbortHandle};
use uuid::Uuid;

use super::{
    echo::Echo,
    log::Cursor,
    outbox::{Outbox, TooMuch},
    outgoing::Outgoing,
    state::LocalRoom,
};
use crate::{
    memory::{Budget, Reservation},
    rate::RateLimiter,
    session::Session,
    wire::payload,
    wire::ws::Decoder,
};

/// Slices given to one write; Linux takes up to 1,024, and past some dozens nothing is gained.
const SLICES: usize = 64;
/// A socket that leaves this much unread is not read from either.
const OUTBOX_PAUSES_READING: usize = 256 * 1024;

/// How far a socket's handshake is.
pub enum Stage {
    /// Connected, not known.
    Unidentified,
    /// Its token is being verified; anything it sends before the answer breaks the protocol.
    Identifying,
    /// It may chat.
    Identified(Box<Session>),
    /// It is here to test the protocol, not to chat.
    Echo(Box<Echo>),
    /// Only what is in its outbox is still to be written.
    Closing,
}

/// What carries a socket's packets.
pub enum Transport {
    WebSocket {
        stream: Rc<TcpStream>,
        reader: Option<AbortHandle>,
    },
    Polling {
        /// Answers the request that waits for packets.
        waiting: Option<oneshot::Sender<Bytes>>,
        /// A WebSocket is about to take over.
        upgrading: bool,
    },
}

impl Transport {
    /// Its name in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WebSocket { .. } => "websocket",
            Self::Polling { .. } => "polling",
        }
    }
}

/// How far a socket is in a room.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The room's key in the worker.
    pub room: usize,
    pub cursor: Cursor,
    /// Its index among the room's members.
    pub slot: usize,
}

/// What a flush came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Flushed {
    All,
    /// The peer takes no more for now.
    Blocked,
    /// The connection is broken.
    Broken,
    /// The last packet is out.
    Ended,
}

/// See the module.
pub struct Socket {
    pub generation: u32,
    /// The random part of its id.
    pub secret: Uuid,
    pub transport: Transport,
    pub stage: Stage,
    pub decoder: Decoder,
    /// Binary messages that belong to the event before them and are not there yet.
    pub attachments: u32,
    pub places: Vec<Place>,
    pub outgoing: Outgoing,
    pub last_heard: Instant,
    pub connected: Instant,
    /// It waits in the worker's list of sockets to flush.
    pub dirty: bool,
    /// Somebody waits until it can be written again.
    pub blocked: bool,
    /// It sent more events than it may; it is not read from for a moment.
    pub throttled: bool,
    /// It sent more packets without content than it may. Unlike an event, which is refused, the next
    /// one has to wait.
    pub flooding: bool,
    /// For pings, pongs and other packets without content.
    control: RateLimiter,
    /// Bytes thrown away because they came after its close.
    pub discarded: usize,
    /// An event of it waits until its token's key was looked for.
    pub awaits_key: bool,
    /// How often it asked for a namespace.
    pub connects: usize,
    /// Rooms that have yet to answer whether they take it in; their replays come with the answers.
    pub joining: usize,
    /// Alive while a request brings packets: from its headers until its last packet was taken.
    pub posting: Weak<()>,
    /// Wakes its reader, which waits until less is pending.
    pub paused: Option<oneshot::Sender<()>>,
    pub life: Life,
    /// It is counted among its address's sockets, and once identified among its user's.
    pub admitted: [Option<Admitted>; 2],
    /// For what its decoder holds of messages that are not complete.
    pub received: Reservation,
    /// Frames for this socket alone; they go before any room's.
    outbox: Outbox,
    /// It was blocked at the last ping and has taken nothing since.
    stuck: bool,
}

/// What is said of a socket when it has ended.
#[derive(Debug, Default)]
pub struct Life {
    /// Whose it was last.
    pub user: Option<UserId>,
    pub events: u64,
    pub received: u64,
    pub sent: u64,
    /// Why it was closed; otherwise the peer went away.
    pub reason: &'static str,
}

impl Socket {
    pub fn new(
        transport: Transport,
        generation: u32,
        decoder: Decoder,
        stage: Stage,
        budget: &Budget,
    ) -> Self {
        let now = Instant::now();
        Self {
            generation,
            secret: Uuid::new_v4(),
            transport,
            stage,
            decoder,
            attachments: 0,
            places: Vec::new(),
            outgoing: Outgoing::new(budget.nothing()),
            last_heard: now,
            connected: now,
            dirty: false,
            blocked: false,
            throttled: false,
            flooding: false,
            control: RateLimiter::new(now),
            discarded: 0,
            awaits_key: false,
            connects: 0,
            joining: 0,
            posting: Weak::new(),
            paused: None,
            life: Life::default(),
            admitted: [None, None],
            received: budget.nothing(),
            outbox: Outbox::new(budget.nothing()),
            stuck: false,
        }
    }

    /// The session, once the socket is identified.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Identified(session) => Some(session),
            _ => None,
        }
    }

    /// Nothing that comes from it counts any more.
    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// Counts a packet without content.
    pub fn count_control(&mut self, rate: Option<Rate>) {
        self.flooding |= !self.control.admit(rate, Instant::now());
    }

    /// How far it is in a room.
    pub fn place(&self, room: usize) -> Option<Place> {
        self.places.iter().find(|place| place.room == room).copied()
    }

    /// Queues a frame for this socket.
    pub fn push(&mut self, frame: Bytes) {
        self.outbox.push(frame);
    }

    /// Queues frames of a room's batch for this socket.
    pub fn push_shared(&mut self, frames: Bytes) {
        self.outbox.push_shared(frames);
    }

    /// Reserves memory for what it has left unread. An error says that it must be closed.
    pub fn settle(&mut self) -> Result<(), TooMuch> {
        self.outbox.settle()
    }

    /// Notes whether it takes no more for now.
    pub fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
        self.stuck &= blocked;
    }

    /// Whether it has taken nothing from one ping to the next: it only keeps memory from others, even
    /// if it answers pings. Asked at every ping.
    pub fn is_stuck(&mut self) -> bool {
        std::mem::replace(&mut self.stuck, self.blocked)
    }

    /// Nothing of its own is left to write.
    pub fn is_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// It is to be read from only when it has taken more of its answers. Rooms are joined one after
    /// the other, so that no more than one replay waits for it.
    pub fn is_overloaded(&self) -> bool {
        self.outbox.bytes() > OUTBOX_PAUSES_READING
            || self.outgoing.is_full()
            || self.joining > 0
            || self.awaits_key
    }

    /// Lets its reader go on, if it may.
    pub fn resume(&mut self) {
        if !self.is_overloaded()
            && let Some(reader) = self.paused.take()
        {
            // A reader that is gone needs no waking.
            let _ = reader.send(());
        }
    }

    /// Writes all that is ready, as much at once as the peer takes.
    pub fn flush(
        &mut self,
        rooms: &Slab<LocalRoom>,
        writes: &metrics::Counter,
        budget: &Budget,
    ) -> Flushed {
        match &self.transport {
            Transport::WebSocket { stream, .. } => self.write(&stream.clone(), rooms, writes),
            Transport::Polling { .. } => self.answer_poll(rooms, budget),
        }
    }

    /// What is to be written, in order.
    fn ready<'a>(&'a self, rooms: &'a Slab<LocalRoom>) -> impl Iterator<Item = &'a [u8]> {
        self.outbox.frames().chain(self.places.iter().flat_map(|place| {
            let room = rooms.get(place.room).into_iter();
            room.flat_map(|room| room.log.after(place.cursor))
        }))
    }

    fn write(
        &mut self,
        stream: &TcpStream,
        rooms: &Slab<LocalRoom>,
        writes: &metrics::Counter,
    ) -> Flushed {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = slices
                .iter_mut()
                .zip(self.ready(rooms))
                .map(|(slice, bytes)| *slice = IoSlice::new(bytes))
                .count();
            if count == 0 {
                return Flushed::All;
            }
            let size: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            match stream.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    writes.increment(1);
                    self.advance(written, rooms);
                    if written == size && count < SLICES {
                        return Flushed::All;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(_) => return Flushed::Broken,
            }
        }
    }

    /// Answers the waiting poll, if there is one and something to answer.
    fn answer_poll(&mut self, rooms: &Slab<LocalRoom>, budget: &Budget) -> Flushed {
        let mut body = payload::Encoder::default();
        let all = self.ready(rooms).all(|frames| body.add(frames));
        let Some((body, taken)) = body.finish() else { return Flushed::All };
        let Transport::Polling { waiting, .. } = &mut self.transport else { return Flushed::All };
        // Its memory counts until the request is answered, however slowly that is read.
        let answer = |poll: oneshot::Sender<Bytes>| {
            let held = budget.charge(body.capacity());
            poll.send(held.hold(body))
        };
        match waiting.take().map(answer) {
            Some(Ok(())) => self.advance(taken, rooms),
            // Nobody waits, or who did has hung up.
            Some(Err(_)) | None => return Flushed::Blocked,
        }
        match self.stage {
            Stage::Closing if self.outbox.is_empty() => Flushed::Ended,
            _ if all => Flushed::All,
            _ => Flushed::Blocked,
        }
    }

    /// Notes that `written` bytes are out, in the order in which [`Self::flush`] gave them.
    fn advance(&mut self, written: usize, rooms: &Slab<LocalRoom>) {
        self.life.sent += written as u64;
        let mut written = self.outbox.advance(written) as u64;
        for place in &mut self.places {
            let Some(room) = rooms.get(place.room) else { continue };
            let taken = written.min(room.log.end() - place.cursor);
            place.cursor += taken;
            written -= taken;
            if written > 0 {
                continue;
            }
            // The rest of a frame that is partly out goes before everything else.
            if let Some(rest) = room.log.rest_of_frame(place.cursor) {
                place.cursor += rest.len() as u64;
                self.outbox.push_rest(rest);
            }
            return;
        }
    }
}
