//! What one thread can do at best: epoll, frames encoded once, one write per socket and turn. No
//! authentication, no storage, no acknowledgement from anywhere: what it costs is writing.

use std::{
    collections::HashMap,
    io::{self, IoSlice, Read as _, Write as _},
    net::SocketAddr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);
const CHUNK: usize = 64 * 1024;
const ACCEPT: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Socket {
    stream: TcpStream,
    opened: bool,
    partial: Vec<u8>,
    /// For this socket alone, before the room's.
    own: Vec<u8>,
    room: Option<usize>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Frames of this turn.
    turn: Vec<u8>,
    seq: u64,
}

#[derive(Default)]
struct Floor {
    sockets: Vec<Socket>,
    rooms: Vec<Room>,
    room_by_id: HashMap<Vec<u8>, usize>,
    /// Sockets with something of their own to write.
    touched: Vec<usize>,
}

/// Serves until it is killed.
pub fn run(address: SocketAddr) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1_024);
    let mut chunk = vec![0; CHUNK];
    let mut floor = Floor::default();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let index = event.token().0;
                floor.touched.push(index);
                if event.is_readable() {
                    floor.read(index, &mut chunk);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                let token = Token(floor.sockets.len());
                stream.set_nodelay(true)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, token, interest)?;
                floor.sockets.push(Socket {
                    stream,
                    opened: false,
                    partial: Vec::new(),
                    own: Vec::new(),
                    room: None,
                });
            }
        }
        floor.write();
    }
}

impl Floor {
    fn read(&mut self, index: usize, chunk: &mut [u8]) {
        loop {
            let socket = &mut self.sockets[index];
            let kept = std::mem::take(&mut socket.partial);
            chunk[..kept.len()].copy_from_slice(&kept);
            let count = match socket.stream.read(&mut chunk[kept.len()..]) {
                Ok(0) | Err(_) => {
                    socket.partial = kept;
                    return;
                }
                Ok(count) => count,
            };
            let end = kept.len() + count;
            let taken = self.take(index, &mut chunk[..end]);
            self.sockets[index].partial = chunk[taken..end].to_vec();
        }
    }

    /// Handles all whole messages and returns where they end.
    fn take(&mut self, index: usize, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        if !self.sockets[index].opened {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            let socket = &mut self.sockets[index];
            socket.opened = true;
            socket.own.extend_from_slice(ACCEPT);
            encode(&[b"0{}"], &mut socket.own);
            at = end + 4;
        }
        // The generator's frames: masked with zero, shorter than 64 KiB.
        while bytes.len() >= at + 6 {
            let (header, length) = match bytes[at + 1] & 0x7f {
                126 => (8, usize::from(bytes[at + 2]) << 8 | usize::from(bytes[at + 3])),
                length => (6, usize::from(length)),
            };
            if bytes.len() < at + header + length {
                break;
            }
            let text = at + header..at + header + length;
            self.on_text(index, &bytes[text]);
            at += header + length;
        }
        at
    }

    fn on_text(&mut self, index: usize, text: &[u8]) {
        let own = &mut self.sockets[index].own;
        if text.starts_with(b"40") {
            return encode(&[b"40{}"], own);
        }
        let (Some(open), Some(room)) =
            (memchr::memchr(b'[', text), between(text, b"\"roomId\":\""))
        else {
            return;
        };
        let ack = &text[2..open];
        encode(&[b"43", ack, b"[{\"ok\":true}]"], own);
        let next = self.rooms.len();
        let room = *self.room_by_id.entry(room.to_vec()).or_insert(next);
        if room == next {
            self.rooms.push(Room::default());
        }
        let Some(msg) = between(text, b"\"msg\":\"") else {
            self.sockets[index].room = Some(room);
            return self.rooms[room].members.push(index);
        };
        let id = between(text, b"\"roomId\":\"").unwrap_or_default();
        let room = &mut self.rooms[room];
        room.seq += 1;
        let seq = room.seq.to_string();
        // As much as ours says of a message.
        encode(
            &[
                b"42[\"receive-msg\",{\"roomId\":\"",
                id,
                b"\",\"seq\":",
                seq.as_bytes(),
                b",\"prev\":",
                seq.as_bytes(),
                b",\"id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"from\":{\"id\":\"01890a5d-ac96-774b-bcce-\
                  b302099a8057\",\"name\":\"member 0\"},\"msg\":\"",
                msg,
                b"\",\"at\":\"2026-01-01T00:00:00.000Z\"}]",
            ],
            &mut room.turn,
        );
    }

    fn write(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for room in &mut self.rooms {
            if room.turn.is_empty() {
                continue;
            }
            for &member in &room.members {
                self.sockets[member].write(&room.turn);
            }
            room.turn.clear();
        }
        for index in touched.drain(..) {
            if !self.sockets[index].own.is_empty() {
                self.sockets[index].write(&[]);
            }
        }
        self.touched = touched;
    }
}

impl Socket {
    fn write(&mut self, shared: &[u8]) {
        let slices = [IoSlice::new(&self.own), IoSlice::new(shared)];
        let written = match self.stream.write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // It is gone; so is the run.
            Err(_) => return self.own.clear(),
        };
        let own = written.min(self.own.len());
        self.own.drain(..own);
        self.own.extend_from_slice(&shared[written - own..]);
        if self.own.is_empty() {
            self.own = Vec::new();
        }
    }
}

fn encode(parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x81);
    match length {
        0..126 => out.push(length as u8),
        _ => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// What stands between `before` and the next quote.
fn between<'a>(text: &'a [u8], before: &[u8]) -> Option<&'a [u8]> {
    let at = memchr::memmem::find(text, before)? + before.len();
    Some(&text[at..at + memchr::memchr(b'"', &text[at..])?])
}
