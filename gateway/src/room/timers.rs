//! What a room does at some moment by itself.

use tokio::time::Instant;

use super::{LINGER, Room};

/// Takes a moment that has come.
fn take_due(moment: &mut Option<Instant>, now: Instant) -> bool {
    moment.take_if(|moment| *moment <= now).is_some()
}

impl Room {
    /// When [`Self::on_time`] is to be called next.
    pub(super) fn next_moment(&self) -> Option<Instant> {
        let moments = [
            self.look_at,
            self.gone_at,
            self.tell_presence_at,
            self.waiting.try_at,
            self.wide_until,
            self.end_at,
        ];
        moments.into_iter().flatten().min()
    }

    /// Does what is due. True when the room has been empty for long enough to end.
    pub(super) async fn on_time(&mut self) -> bool {
        let now = Instant::now();
        if take_due(&mut self.look_at, now) {
            self.look().await;
            self.look_until_settled();
        }
        if take_due(&mut self.gone_at, now) {
            self.end_without_last_event().await;
        }
        if take_due(&mut self.tell_presence_at, now) {
            self.tell_presence().await;
        }
        if take_due(&mut self.waiting.try_at, now) {
            self.retry_joins().await;
        }
        if take_due(&mut self.wide_until, now) {
            self.ring.trim(self.allowance());
        }
        if !take_due(&mut self.end_at, now) || !self.is_empty() {
            return false;
        }
        // Whoever keeps it open now may be refused: then it ends the next time.
        self.end_at = Some(now + LINGER);
        self.waiting.is_empty()
    }
}
