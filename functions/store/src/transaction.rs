//! Transactions that emit messages to NATS. The messages are written to the outbox in the transaction and published
//! after its commit. A caller can neither forget to publish nor publish messages that were rolled back.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use protocol::{
    RoomId, UserId,
    stored::StoredEvent,
    subject::{MemberState, Revoked},
};
use service::{roomlog::RoomLog, trace::TraceParent};
use tokio::time::timeout;

use crate::{
    db::{Database, Tx},
    outbox::{self, OutboxMessage},
};

/// Time limit of a ping of the database, and of a second one on a new connection if the first one failed.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The database and the message log. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub database: Database,
    pub log: RoomLog,
}

impl Store {
    /// Begins a transaction that will write. Its messages continue `trace`.
    pub async fn begin(&self, trace: TraceParent) -> sqlx::Result<Transaction> {
        let tx = self.database.begin().await?;
        Ok(Transaction { tx, store: self.clone(), trace, messages: Vec::new() })
    }

    /// Finds connections that broke without notice, for instance while the process was frozen, and replaces them: side
    /// by side, in less than a second. Connections to the storage are not kept for that long.
    pub async fn replace_broken_connections(&self) {
        self.database.distrust_idle_connections();
        let database = async {
            // The pool replaces a connection that does not answer its ping.
            if timeout(RECONNECT_TIMEOUT, self.database.ping()).await.is_err() {
                tracing::warn!("the database does not answer after a pause");
            }
        };
        tokio::join!(database, self.log.reconnect_unless_alive());
    }
}

/// A database transaction with the messages that it emits. Dropped without [`Transaction::commit`], it is rolled back
/// and publishes nothing.
pub struct Transaction {
    tx: Tx,
    store: Store,
    trace: TraceParent,
    /// Outbox rows that this transaction wrote, in order.
    messages: Vec<OutboxMessage>,
}

impl Transaction {
    /// Emits an event of a room.
    pub async fn emit(&mut self, room: RoomId, event: &StoredEvent) -> sqlx::Result<()> {
        let shards = self.store.log.shards();
        self.record(OutboxMessage::event(shards, room, event, self.trace)).await
    }

    /// Revokes a session, a user or a room at every gateway.
    pub async fn revoke(&mut self, revoked: Revoked) -> sqlx::Result<()> {
        self.record(OutboxMessage::revocation(revoked, self.trace)).await
    }

    /// Sets a user's role in a room at every gateway, from a version of the room on. Without a role the user is not a
    /// member.
    pub async fn set_member(
        &mut self,
        room: RoomId,
        user: UserId,
        state: MemberState,
    ) -> sqlx::Result<()> {
        self.record(OutboxMessage::member(room, user, state, self.trace)).await
    }

    async fn record(&mut self, message: OutboxMessage) -> sqlx::Result<()> {
        message.record(&mut self.tx).await?;
        self.messages.push(message);
        Ok(())
    }

    /// Commits, then publishes. Succeeds even if NATS does not store the messages in time: they stay in the outbox,
    /// and the archive publishes them.
    pub async fn commit(self) -> sqlx::Result<()> {
        let Self { tx, store, messages, .. } = self;
        tx.commit().await?;
        if !messages.is_empty() {
            outbox::publish(&store.database, &store.log, &messages).await;
        }
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Tx;
    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}
