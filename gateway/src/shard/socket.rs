//! One socket: what is to be written to it and how far it is in each of its rooms.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    time::Instant,
};

use bytes::{Buf as _, Bytes};
use slab::Slab;
use tokio::{net::TcpStream, sync::oneshot, task::AbortHandle};

use super::{log::Cursor, outgoing::Outgoing, state::LocalRoom};
use crate::{session::Session, ws::Decoder};

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
    /// Only what is in its outbox is still to be written.
    Closing,
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
}

/// See the module.
pub struct Socket {
    pub generation: u32,
    pub stream: Rc<TcpStream>,
    pub stage: Stage,
    pub decoder: Decoder,
    /// Binary messages to skip: attachments of an event that was refused.
    pub attachments: u32,
    pub places: Vec<Place>,
    pub outgoing: Outgoing,
    pub last_heard: Instant,
    pub connected: Instant,
    /// It waits in the shard's list of sockets to flush.
    pub dirty: bool,
    /// Somebody waits until it can be written again.
    pub blocked: bool,
    /// Wakes its reader, which waits until less is pending.
    pub resume: Option<oneshot::Sender<()>>,
    pub reader: Option<AbortHandle>,
    /// Frames for this socket alone; they go before any room's.
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
}

impl Socket {
    pub fn new(stream: Rc<TcpStream>, generation: u32, decoder: Decoder) -> Self {
        let now = Instant::now();
        Self {
            generation,
            stream,
            stage: Stage::Unidentified,
            decoder,
            attachments: 0,
            places: Vec::new(),
            outgoing: Outgoing::default(),
            last_heard: now,
            connected: now,
            dirty: false,
            blocked: false,
            resume: None,
            reader: None,
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

    /// Queues a frame for this socket.
    pub fn push(&mut self, frame: Bytes) {
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
    }

    /// Nothing of its own is left to write.
    pub fn is_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// It is to be read from only when it has taken more of its answers.
    pub fn is_overloaded(&self) -> bool {
        self.outbox_bytes > OUTBOX_PAUSES_READING || self.outgoing.is_full()
    }

    /// Writes all that is ready, as much at once as the peer takes.
    pub fn flush(&mut self, rooms: &Slab<LocalRoom>, writes: &metrics::Counter) -> Flushed {
        if self.outbox_bytes > OUTBOX_AT_MOST {
            return Flushed::Broken;
        }
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let ready = self.outbox.iter().map(|frame| &**frame);
            let ready = ready.chain(self.places.iter().flat_map(|place| {
                let room = rooms.get(place.room).into_iter();
                room.flat_map(|room| room.log.after(place.cursor))
            }));
            let count = slices
                .iter_mut()
                .zip(ready)
                .map(|(slice, bytes)| *slice = IoSlice::new(bytes))
                .count();
            if count == 0 {
                break;
            }
            let size: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    writes.increment(1);
                    self.advance(written, rooms);
                    if written == size && count < SLICES {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(_) => return Flushed::Broken,
            }
        }
        if self.outbox.capacity() > SLICES {
            self.outbox = VecDeque::new();
        }
        Flushed::All
    }

    /// Notes that `written` bytes are out, in the order in which [`Self::flush`] gave them.
    fn advance(&mut self, mut written: usize, rooms: &Slab<LocalRoom>) {
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
