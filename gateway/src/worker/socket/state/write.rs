//! Writing a socket's backlog to its transport.

use std::{io, io::IoSlice};

use tokio::net::TcpStream;

use super::Socket;
use crate::{
    memory::Budget,
    wire::payload,
    worker::socket::{backlog::RoomLogs, transport::Flushed},
};

/// Maximum number of slices per write. Linux accepts 1,024, but more than some dozens bring no gain.
const SLICES: usize = 64;

impl Socket {
    /// Sends as much of the backlog as the transport accepts, with one write if possible.
    pub fn flush(
        &mut self,
        logs: &impl RoomLogs,
        writes: &metrics::Counter,
        budget: &Budget,
    ) -> Flushed {
        match self.transport.stream().cloned() {
            Some(stream) => self.write(&stream, logs, writes),
            None => self.answer_poll(logs, budget),
        }
    }

    fn write(
        &mut self,
        stream: &TcpStream,
        logs: &impl RoomLogs,
        writes: &metrics::Counter,
    ) -> Flushed {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = slices
                .iter_mut()
                .zip(self.backlog.ready(logs))
                .map(|(slice, bytes)| *slice = IoSlice::new(bytes))
                .count();
            if count == 0 {
                return Flushed::All;
            }
            let size: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            match stream.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    writes.increment(1);
                    self.advance(written, logs);
                    if written == size && count < SLICES {
                        return Flushed::All;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(_) => return Flushed::Broken,
            }
        }
    }

    /// Answers the waiting poll, if there is one and the backlog is not empty.
    fn answer_poll(&mut self, logs: &impl RoomLogs, budget: &Budget) -> Flushed {
        let mut body = payload::Encoder::default();
        let is_all = self.backlog.ready(logs).all(|frames| body.add(frames));
        let Some((body, taken)) = body.finish() else { return Flushed::All };
        let Some(poll) = self.transport.take_poll() else { return Flushed::Blocked };
        // Charged until the response is sent, because the client may read it slowly.
        let charged = budget.charge(body.capacity());
        if poll.send(charged.hold(body)).is_err() {
            // The client hung up.
            return Flushed::Blocked;
        }
        self.advance(taken, logs);
        match is_all {
            _ if self.is_closing() && self.backlog.is_outbox_empty() => Flushed::Ended,
            true => Flushed::All,
            false => Flushed::Blocked,
        }
    }

    fn advance(&mut self, sent: usize, logs: &impl RoomLogs) {
        self.stats.count_sent(sent);
        self.backlog.advance(sent, logs);
    }
}
