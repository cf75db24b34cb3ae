//! Statistics of a socket, logged when it ends.

use std::time::Instant;

use protocol::UserId;

/// See the module.
#[derive(Debug)]
pub struct SocketStats {
    /// The user of the socket's last session.
    user: Option<UserId>,
    connected_at: Instant,
    last_heard: Instant,
    events: u64,
    received: u64,
    sent: u64,
    /// Why the gateway closed the socket; none if the peer disconnected.
    reason: Option<&'static str>,
}

impl Default for SocketStats {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            user: None,
            connected_at: now,
            last_heard: now,
            events: 0,
            received: 0,
            sent: 0,
            reason: None,
        }
    }
}

impl SocketStats {
    pub fn set_user(&mut self, user: UserId) {
        self.user = Some(user);
    }

    pub fn set_reason(&mut self, reason: &'static str) {
        self.reason = Some(reason);
    }

    pub fn count_event(&mut self) {
        self.events += 1;
    }

    pub fn count_received(&mut self, bytes: usize) {
        self.last_heard = Instant::now();
        self.received += bytes as u64;
    }

    pub fn count_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// When bytes were last received.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Logs and counts the end of the socket.
    pub fn report(&self, transport: &'static str) {
        let reason = self.reason.unwrap_or("the client went away");
        metrics::counter!("chat_gateway_sockets_ended_total", "reason" => reason).increment(1);
        tracing::info!(
            user = self.user.map(tracing::field::display),
            transport,
            seconds = self.connected_at.elapsed().as_secs(),
            events = self.events,
            received = self.received,
            sent = self.sent,
            reason,
            "a socket ended"
        );
    }
}
