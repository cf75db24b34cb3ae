//! One socket: what is to be written to it and how far it is in each of its rooms.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    time::Instant,
};

use bytes::{Buf as _, Bytes};
use protocol::UserId;
use slab::Slab;
use tokio::{net::TcpStream, sync::oneshot, task::AbortHandle};
use uuid::Uuid;

use super::{echo::Echo, log::Cursor, outgoing::Outgoing, state::LocalRoom};
use crate::{admission::Admitted, payload, session::Session, ws::Decoder};

/// Slices given to one write; Linux takes up to 1,024, and past some dozens nothing is gained.
const SLICES: usize = 64;
/// Bytes of its own answers and replays that a socket may leave unread before it is closed. Replays
/// of a thousand long messages fit.
const OUTBOX_AT_MOST: usize = 16 * 1024 * 1024;
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
        waiting: Option<oneshot::Sender<String>>,
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
    /// The room's key in the shard.
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
    /// The connection is broken, or the peer left too much unread.
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
    /// It waits in the shard's list of sockets to flush.
    pub dirty: bool,
    /// Somebody waits until it can be written again.
    pub blocked: bool,
    /// It sent more events than it may; it is not read from for a moment.
    pub throttled: bool,
    /// How often it asked for a namespace.
    pub connects: usize,
    /// Rooms that have yet to answer whether they take it in; their replays come with the answers.
    pub joining: usize,
    /// A request's packets are being taken.
    pub posting: bool,
    /// Wakes its reader, which waits until less is pending.
    pub paused: Option<oneshot::Sender<()>>,
    pub life: Life,
    /// It is counted among its address's sockets, and once identified among its user's.
    pub admitted: [Option<Admitted>; 2],
    /// Frames for this socket alone; they go before any room's.
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
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
    pub fn new(transport: Transport, generation: u32, decoder: Decoder, stage: Stage) -> Self {
        let now = Instant::now();
        Self {
            generation,
            secret: Uuid::new_v4(),
            transport,
            stage,
            decoder,
            attachments: 0,
            places: Vec::new(),
            outgoing: Outgoing::default(),
            last_heard: now,
            connected: now,
            dirty: false,
            blocked: false,
            throttled: false,
            connects: 0,
            joining: 0,
            posting: false,
            paused: None,
            life: Life::default(),
            admitted: [None, None],
            outbox: VecDeque::new(),
            outbox_bytes: 0,
        }
    }

    /// The session, once the socket is identified.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Identified(session) => Some(session),
            _ => None,
        }
    }

    /// How far it is in a room.
    pub fn place(&self, room: usize) -> Option<Place> {
        self.places.iter().find(|place| place.room == room).copied()
    }

    /// Queues a frame for this socket.
    pub fn push(&mut self, frame: Bytes) {
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
    }

    /// Nothing of its own is left to write.
    pub fn is_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// It is to be read from only when it has taken more of its answers. Rooms are joined one after
    /// the other, so that no more than one replay waits for it.
    pub fn is_overloaded(&self) -> bool {
        self.outbox_bytes > OUTBOX_PAUSES_READING || self.outgoing.is_full() || self.joining > 0
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
    pub fn flush(&mut self, rooms: &Slab<LocalRoom>, writes: &metrics::Counter) -> Flushed {
        if self.outbox_bytes > OUTBOX_AT_MOST {
            self.life.reason = "too much left unread";
            return Flushed::Broken;
        }
        let flushed = match &self.transport {
            Transport::WebSocket { stream, .. } => self.write(&stream.clone(), rooms, writes),
            Transport::Polling { .. } => self.answer_poll(rooms),
        };
        if self.outbox.capacity() > SLICES && self.outbox.is_empty() {
            self.outbox = VecDeque::new();
        }
        flushed
    }

    /// What is to be written, in order.
    fn ready<'a>(&'a self, rooms: &'a Slab<LocalRoom>) -> impl Iterator<Item = &'a [u8]> {
        let own = self.outbox.iter().map(|frame| &**frame);
        own.chain(self.places.iter().flat_map(|place| {
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
    fn answer_poll(&mut self, rooms: &Slab<LocalRoom>) -> Flushed {
        let mut body = payload::Encoder::default();
        let all = self.ready(rooms).all(|frames| body.add(frames));
        let Some((body, taken)) = body.finish() else { return Flushed::All };
        let Transport::Polling { waiting, .. } = &mut self.transport else { return Flushed::All };
        match waiting.take().map(|poll| poll.send(body)) {
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
    fn advance(&mut self, mut written: usize, rooms: &Slab<LocalRoom>) {
        self.life.sent += written as u64;
        while let Some(front) = self.outbox.front_mut() {
            if written == 0 {
                return;
            }
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            self.outbox_bytes -= taken;
            if front.is_empty() {
                self.outbox.pop_front();
            }
        }
        let mut written = written as u64;
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
                self.outbox_bytes += rest.len();
                self.outbox.push_front(rest);
            }
            return;
        }
    }
}
