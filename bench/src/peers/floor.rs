//! A lower bound of the cost of a chat server: one thread, epoll, frames encoded once, one write per socket and loop
//! iteration. It has no authentication and no storage, so that nearly all of its cost is writing to sockets.

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
const BUFFER_BYTES: usize = 64 * 1024;
const HANDSHAKE_RESPONSE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Socket {
    stream: TcpStream,
    is_open: bool,
    partial: Vec<u8>,
    /// Unsent bytes for this socket only. They are sent before frames of the room.
    unsent: Vec<u8>,
    room: Option<usize>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Frames of the current loop iteration.
    frames: Vec<u8>,
    seq: u64,
}

#[derive(Default)]
struct Floor {
    sockets: Vec<Socket>,
    rooms: Vec<Room>,
    room_by_id: HashMap<Vec<u8>, usize>,
    /// Sockets with events in the current loop iteration.
    active: Vec<usize>,
}

/// Serves until the process is killed.
pub fn run(address: SocketAddr) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut floor = Floor::default();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let index = event.token().0;
                floor.active.push(index);
                if event.is_readable() {
                    floor.read(index, &mut buffer);
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
                    is_open: false,
                    partial: Vec::new(),
                    unsent: Vec::new(),
                    room: None,
                });
            }
        }
        floor.write();
    }
}

impl Floor {
    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        loop {
            let socket = &mut self.sockets[index];
            let kept = std::mem::take(&mut socket.partial);
            buffer[..kept.len()].copy_from_slice(&kept);
            let count = match socket.stream.read(&mut buffer[kept.len()..]) {
                Ok(0) | Err(_) => {
                    socket.partial = kept;
                    return;
                }
                Ok(count) => count,
            };
            let end = kept.len() + count;
            let handled = self.handle_frames(index, &buffer[..end]);
            self.sockets[index].partial = buffer[handled..end].to_vec();
        }
    }

    /// Handles all complete frames and returns their total length.
    fn handle_frames(&mut self, index: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        if !self.sockets[index].is_open {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return 0 };
            let socket = &mut self.sockets[index];
            socket.is_open = true;
            socket.unsent.extend_from_slice(HANDSHAKE_RESPONSE);
            encode(&[b"0{}"], &mut socket.unsent);
            at = end + 4;
        }
        // Frames of the load generator are shorter than 64 KiB and masked with zero.
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
        let unsent = &mut self.sockets[index].unsent;
        if text.starts_with(b"40") {
            return encode(&[b"40{}"], unsent);
        }
        let (Some(open), Some(room)) =
            (memchr::memchr(b'[', text), between(text, b"\"roomId\":\""))
        else {
            return;
        };
        let ack = &text[2..open];
        encode(&[b"43", ack, b"[{\"ok\":true}]"], unsent);
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
        // The same fields as in events of our gateway.
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
            &mut room.frames,
        );
    }

    fn write(&mut self) {
        let mut active = std::mem::take(&mut self.active);
        for room in &mut self.rooms {
            if room.frames.is_empty() {
                continue;
            }
            for &member in &room.members {
                self.sockets[member].write(&room.frames);
            }
            room.frames.clear();
        }
        for index in active.drain(..) {
            if !self.sockets[index].unsent.is_empty() {
                self.sockets[index].write(&[]);
            }
        }
        self.active = active;
    }
}

impl Socket {
    fn write(&mut self, shared: &[u8]) {
        let slices = [IoSlice::new(&self.unsent), IoSlice::new(shared)];
        let written = match self.stream.write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // A disconnect ends the whole run, so nothing is cleaned up.
            Err(_) => return self.unsent.clear(),
        };
        let from_unsent = written.min(self.unsent.len());
        self.unsent.drain(..from_unsent);
        self.unsent.extend_from_slice(&shared[written - from_unsent..]);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
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

/// The bytes between `before` and the next quote.
fn between<'a>(text: &'a [u8], before: &[u8]) -> Option<&'a [u8]> {
    let at = memchr::memmem::find(text, before)? + before.len();
    Some(&text[at..at + memchr::memchr(b'"', &text[at..])?])
}
