//! Transactions that emit: what a transaction causes in NATS is written to the outbox inside it and
//! published after its commit. A caller can neither forget to publish nor publish what was rolled back.

use std::ops::{Deref, DerefMut};

use protocol::{
    RoomId, UserId,
    stored::StoredEvent,
    subject::{MemberState, Revoked},
};
use service::{roomlog::RoomLog, trace::TraceParent};

use crate::{
    db::{Database, Tx},
    outbox::{self, OutboxMessage},
};

/// The database and the message log; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub database: Database,
    pub log: RoomLog,
}

impl Store {
    /// Starts a transaction that will write. Its messages belong to `trace`.
    pub async fn begin(&self, trace: TraceParent) -> sqlx::Result<Transaction> {
        let tx = self.database.begin().await?;
        Ok(Transaction { tx, store: self.clone(), trace, messages: Vec::new() })
    }
}

/// A database transaction with the messages that it causes. Dropped without [`Transaction::commit`], it
/// is rolled back and publishes nothing.
pub struct Transaction {
    tx: Tx,
    store: Store,
    trace: TraceParent,
    /// Rows of the outbox that this transaction wrote, in order.
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

    /// Sets what a user is in a room from a version of the room on, at every gateway. Without a role they
    /// are no member.
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

    /// Commits, then publishes. Messages that NATS does not take in time stay in the outbox, from which
    /// the archive publishes them; the commit has succeeded all the same.
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
