//! A room's mailbox: one queue of commands from workers and messages from NATS, in order of arrival. An empty
//! mailbox takes no memory, because most rooms are silent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    bus::{PresenceRequest, Republished},
    command::RoomCommand,
};

/// Maximum number of commands that wait for one room. Further joins are refused with `busy`.
const COMMANDS: usize = 8_192;
/// Maximum number of NATS messages that wait for one room, and of their bytes. Further messages are dropped and
/// read from the stream later. Enough for the messages that arrive while a room waits for a reply of JetStream.
const MESSAGES: usize = 16_384;
const BYTES: usize = 8 * 1024 * 1024;

/// A command or a message for a room.
#[derive(Debug)]
pub enum Mail {
    Command(RoomCommand),
    /// An event republished by the stream.
    Stored(Republished),
    /// An [`crate::ephemeral::EphemeralEvent`], encoded.
    Ephemeral(Bytes),
    PresenceQuery(PresenceRequest),
}

impl Mail {
    fn size(&self) -> usize {
        match self {
            Self::Stored(event) => event.payload.len(),
            Self::Ephemeral(payload) => payload.len(),
            Self::Command(_) | Self::PresenceQuery(_) => 0,
        }
    }
}

/// A command that was refused, by reason.
#[derive(Debug)]
pub enum RefusedCommand {
    Full(RoomCommand),
    Closed(RoomCommand),
}

/// The content taken from a mailbox.
#[derive(Debug, Default)]
pub struct Taken {
    pub mail: VecDeque<Mail>,
    /// Messages may have been missed since the last time.
    pub missed: bool,
}

/// See the module. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    mail: VecDeque<Mail>,
    commands: usize,
    bytes: usize,
    missed: bool,
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command.
    pub fn command(&self, command: RoomCommand) -> Result<(), RefusedCommand> {
        let mut state = self.lock();
        if state.closed {
            return Err(RefusedCommand::Closed(command));
        }
        if state.commands >= COMMANDS {
            return Err(RefusedCommand::Full(command));
        }
        state.commands += 1;
        state.mail.push_back(Mail::Command(command));
        drop(state);
        self.0.arrived.notify_one();
        Ok(())
    }

    /// Adds a message from NATS. A full mailbox drops it and sets the mark that messages were missed.
    pub fn message(&self, message: Mail) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let bytes = state.bytes + message.size();
        if state.mail.len() - state.commands >= MESSAGES || bytes > BYTES {
            if !state.missed {
                metrics::counter!("chat_gateway_mailbox_overflows_total").increment(1);
            }
            state.missed = true;
        } else {
            state.bytes = bytes;
            state.mail.push_back(message);
        }
        drop(state);
        self.0.arrived.notify_one();
    }

    /// Sets the mark that messages may have been missed.
    pub fn mark_missed(&self) {
        self.lock().missed = true;
        self.0.arrived.notify_one();
    }

    /// Whether there is nothing to handle.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.mail.is_empty() && !state.missed
    }

    /// Waits for mail and takes all of it. Only one task may wait.
    pub async fn take(&self) -> Taken {
        loop {
            if let Some(taken) = self.take_now() {
                return taken;
            }
            self.0.arrived.notified().await;
        }
    }

    fn take_now(&self) -> Option<Taken> {
        let mut state = self.lock();
        if state.mail.is_empty() && !state.missed {
            return None;
        }
        (state.commands, state.bytes) = (0, 0);
        let missed = std::mem::take(&mut state.missed);
        Some(Taken { mail: std::mem::take(&mut state.mail), missed })
    }

    /// Refuses all further mail; returns what was left.
    pub fn close(&self) -> VecDeque<Mail> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.mail)
    }

    /// A guard that closes the mailbox, however its task ends.
    pub fn close_on_drop(&self) -> CloseOnDrop {
        CloseOnDrop(self.clone())
    }

    /// See [`Self::close`].
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

/// See [`Mailbox::close_on_drop`].
pub struct CloseOnDrop(Mailbox);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Seq, UserId, stored::Position};

    use super::*;

    fn leave() -> RoomCommand {
        RoomCommand::Leave { worker: 0, user: UserId::generate() }
    }

    fn stored(seq: u32, size: usize) -> Mail {
        let seq = Seq::from(seq);
        let position = Position { seq, prev: seq.previous() };
        Mail::Stored(Republished { position, payload: vec![0; size].into(), trace: None })
    }

    #[tokio::test]
    async fn mail_is_taken_in_order_and_its_memory_is_freed() {
        let mailbox = Mailbox::default();
        mailbox.command(leave()).unwrap();
        mailbox.message(stored(1, 10));
        mailbox.command(leave()).unwrap();
        let Taken { mut mail, missed } = mailbox.take().await;
        assert!(matches!(
            mail.make_contiguous(),
            [Mail::Command(_), Mail::Stored(_), Mail::Command(_)]
        ));
        assert!(!missed && mailbox.is_empty());
        assert_eq!(mailbox.lock().mail.capacity(), 0);
        // New mail wakes the task that waits.
        let other = mailbox.clone();
        let (taken, ()) = tokio::join!(mailbox.take(), async move { other.mark_missed() });
        assert!(taken.missed && taken.mail.is_empty());
    }

    #[test]
    fn a_full_mailbox_refuses_commands_and_drops_messages() {
        let mailbox = Mailbox::default();
        for _ in 0..COMMANDS {
            mailbox.command(leave()).unwrap();
        }
        assert!(matches!(mailbox.command(leave()), Err(RefusedCommand::Full(_))));
        mailbox.message(stored(1, BYTES));
        assert!(!mailbox.lock().missed);
        mailbox.message(stored(2, 1));
        let taken = mailbox.take_now().unwrap();
        assert!(taken.missed && taken.mail.len() == COMMANDS + 1);
        (0..=MESSAGES as u32).for_each(|seq| mailbox.message(stored(seq + 1, 1)));
        let taken = mailbox.take_now().unwrap();
        assert!(taken.missed && taken.mail.len() == MESSAGES);
        mailbox.command(leave()).unwrap();
        assert_eq!(mailbox.close().len(), 1);
        assert!(matches!(mailbox.command(leave()), Err(RefusedCommand::Closed(_))));
    }
}
