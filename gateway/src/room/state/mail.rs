//! Handles a room's mail in its order.

use std::collections::VecDeque;

use super::Room;
use crate::mailbox::Mail;

/// Republished events that are passed to the workers as one batch.
const BATCH: usize = 64;

impl Room {
    /// Handles mail; consecutive events are delivered together. What follows the room's last event stays in
    /// `mail`.
    pub async fn on_mail(&mut self, mail: &mut VecDeque<Mail>) {
        let mut stored = Vec::new();
        while let Some(next) = mail.pop_front() {
            let follows = matches!(mail.front(), Some(Mail::Stored(_))) && stored.len() + 1 < BATCH;
            match next {
                Mail::Stored(event) => {
                    stored.push(event);
                    if !follows {
                        self.on_stored(std::mem::take(&mut stored)).await;
                    }
                }
                Mail::Command(command) => Box::pin(self.on_command(command)).await,
                Mail::Ephemeral(payload) => Box::pin(self.on_ephemeral(&payload)).await,
                Mail::Question(asked) => self.on_question(asked),
            }
            if self.is_deleted {
                return;
            }
        }
        // An idle room gives back the memory of its busy times.
        *mail = VecDeque::new();
    }
}
