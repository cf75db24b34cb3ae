//! The rooms' subscriptions to NATS: one connection per worker, which passes each message to its room's
//! mailbox.
//!
//! Why not async-nats: its client allocates a channel per subscription, 6.5 KiB each and three per room,
//! even for a silent room. Here a subscription is an entry of a table.

mod connect;
mod message;
mod table;
mod wire;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::{RoomId, UserId, presence::PresenceReply, subject::Shards};
use service::{
    nats::{ANSWER_WITHIN, NatsConfig},
    roomlog::LogError,
};
use tokio::{
    io::AsyncWriteExt as _,
    sync::Notify,
    time::{Instant, timeout},
};

use self::{
    connect::{Connection, Server, backoff, read},
    table::Table,
    wire::{Message, Operation},
};
use crate::{bus::PresenceRequest, mailbox::Mailbox};

/// How often the server is pinged. After two pings without an answer the connection counts as broken.
const PING_EVERY: Duration = Duration::from_secs(10);

/// One worker's connection to NATS for the subscriptions of its rooms. Clones share it.
#[derive(Clone)]
pub struct Subscriptions(Arc<Inner>);

struct Inner {
    shards: Shards,
    table: Mutex<Table>,
    /// Wakes the connection's task to write.
    queued: Notify,
}

/// The subscriptions of a room. They end when this is dropped.
pub struct RoomSubscription {
    subscriptions: Subscriptions,
    number: u64,
}

impl Subscriptions {
    /// Connects in the background, and reconnects whenever the connection breaks, while the runtime lives.
    pub fn start(config: NatsConfig, shards: Shards) -> Self {
        let table = Mutex::new(Table::new(shards));
        let subscriptions = Self(Arc::new(Inner { shards, table, queued: Notify::new() }));
        tokio::spawn(subscriptions.clone().run(config));
        subscriptions
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to a room's stored and ephemeral events. Returns once the server has confirmed it.
    pub async fn subscribe(
        &self,
        room: RoomId,
        mailbox: Mailbox,
    ) -> Result<RoomSubscription, LogError> {
        let (number, confirmed) = self.table().add(room, mailbox);
        let subscription = RoomSubscription { subscriptions: self.clone(), number };
        self.0.queued.notify_one();
        match timeout(ANSWER_WITHIN, confirmed).await {
            Ok(Ok(())) => Ok(subscription),
            _ => Err(LogError::Unavailable("a subscription was not confirmed".into())),
        }
    }

    /// Replies to a presence query. The reply is lost while NATS is unreachable. It is sent on this connection,
    /// because NATS allows only the receiver of a request to reply to it.
    pub fn answer(&self, request: PresenceRequest, online: Vec<UserId>) {
        self.table().reply(&request.reply, &PresenceReply { online }.encode());
        self.0.queued.notify_one();
    }

    pub fn is_connected(&self) -> bool {
        self.table().is_connected()
    }

    /// Connects, and reconnects for ever.
    async fn run(self, config: NatsConfig) {
        let given: Vec<Server> = config.url.split(',').filter_map(Server::parse).collect();
        let mut servers = given.clone();
        let (mut next, mut failures) = (0, 0);
        while let Some(server) = servers.get(next % servers.len().max(1)).cloned() {
            tokio::time::sleep(backoff(failures)).await;
            let ended = match server.connect(&config).await {
                Ok(connection) => {
                    failures = 0;
                    servers = given.clone();
                    let discovered = connection.info.connect_urls.iter();
                    servers.extend(discovered.filter_map(|url| server.peer(url)));
                    self.serve(connection).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "the rooms' connection to NATS broke; reconnecting");
            }
            self.table().disconnected();
            (next, failures) = (next + 1, failures + 1);
        }
        tracing::error!("NATS_URL names no server");
    }

    async fn serve(&self, connection: Connection) -> io::Result<()> {
        let Connection { mut stream, mut decoder, .. } = connection;
        self.table().connected();
        let mut tick = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            while let Some(operation) = decoder.operation().map_err(io::Error::other)? {
                match operation {
                    Operation::Message(message) => self.on_message(message),
                    Operation::Ping => self.table().pong(),
                    Operation::Pong => self.table().on_pong(),
                    Operation::Error(error) if error.contains("Permissions Violation") => {
                        tracing::error!(%error, "NATS refused a room's subscription or reply");
                    }
                    Operation::Error(error) => return Err(io::Error::other(error.to_owned())),
                    Operation::Info(_) | Operation::Ok => {}
                }
            }
            let out = self.table().take_out();
            if !out.is_empty() {
                // A write to a server that vanished never ends, and pongs are not checked during a write.
                timeout(PING_EVERY, stream.write_all(&out)).await??;
            }
            tokio::select! {
                more = read(&mut stream, &mut decoder) => more?,
                () = self.0.queued.notified() => {}
                _ = tick.tick() => {
                    if !self.table().keep_alive() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
        }
    }

    fn on_message(&self, message: Message<'_>) {
        let found = self.table().find(message.sid);
        // The room may have just ended.
        let Some((kind, room, mailbox)) = found else { return };
        if let Some(mail) = message::mail(kind, self.0.shards, room, &message) {
            mailbox.message(mail);
        }
    }
}

impl RoomSubscription {
    /// Subscribes to presence queries as well.
    pub fn answer_queries(&self) {
        self.subscriptions.table().answer_queries(self.number);
        self.subscriptions.0.queued.notify_one();
    }
}

impl Drop for RoomSubscription {
    fn drop(&mut self) {
        self.subscriptions.table().remove(self.number);
        self.subscriptions.0.queued.notify_one();
    }
}
