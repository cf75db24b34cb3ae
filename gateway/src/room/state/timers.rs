//! The timers of a room.

use tokio::time::Instant;

use super::{LINGER, Room};

/// Resets a timer that has fired.
fn take_due(moment: &mut Option<Instant>, now: Instant) -> bool {
    moment.take_if(|moment| *moment <= now).is_some()
}

impl Room {
    /// When [`Self::on_timers`] is to be called next.
    pub fn next_timer(&self) -> Option<Instant> {
        let moments = [
            self.check_at,
            self.end_deleted_at,
            self.send_presence_at,
            self.waiting.retry_at(),
            self.wide_until,
            self.end_at,
        ];
        moments.into_iter().flatten().min()
    }

    /// Handles the timers that have fired. True when the room has been empty for long enough to end.
    pub async fn on_timers(&mut self) -> bool {
        let now = Instant::now();
        if take_due(&mut self.check_at, now) {
            self.check_stream().await;
            self.check_until_settled();
        }
        if take_due(&mut self.end_deleted_at, now) {
            self.end_without_last_event().await;
        }
        if take_due(&mut self.send_presence_at, now) {
            self.send_presence().await;
        }
        if self.waiting.take_due(now) {
            self.retry_joins().await;
        }
        if take_due(&mut self.wide_until, now) {
            self.ring.trim(self.allowance());
        }
        if !take_due(&mut self.end_at, now) || !self.is_empty() {
            return false;
        }
        // Waiting joins keep the room open. If they are refused, the room ends at the next check.
        self.end_at = Some(now + LINGER);
        self.waiting.is_empty()
    }
}
