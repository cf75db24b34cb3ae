//! Handling of a room's mail, in order of arrival.

use std::collections::VecDeque;

use super::Room;
use crate::mailbox::Mail;

/// Maximum number of republished events that are sent to the workers as one batch.
const BATCH: usize = 64;

impl Room {
    /// Handles mail; consecutive events are delivered together. If an event ends the room, the mail after it
    /// stays in `mail`.
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
                Mail::PresenceQuery(request) => self.on_presence_query(request),
            }
            if self.is_deleted {
                return;
            }
        }
        // Frees the capacity of a busy time.
        *mail = VecDeque::new();
    }
}
