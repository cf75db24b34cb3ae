//! Publish budgets of users and rooms for HTTP, counted in the database, so that all instances share them. A request
//! is charged after its authorization and before its transaction.

use std::time::Duration;

use chrono::Utc;
use protocol::{
    RoomId, UserId,
    rate::{Budget, OverBudget, Rate},
};
use service::publish::{self, PublishBudgets, PublishLimits};

use crate::{
    StoreError, TooManyNewRooms,
    db::{Database, on_db, on_tx},
};

/// Rows removed by one statement.
const ROWS: i64 = 2_000;

/// Charges requests to the budgets of users and rooms.
#[derive(Clone)]
pub struct Budgets {
    database: Database,
    limits: PublishLimits,
    /// The budgets that functions and gateway share when they run in one process. Otherwise the database counts.
    shared: Option<PublishBudgets>,
    new_rooms: Option<Rate>,
}

impl Budgets {
    /// `new_rooms` limits how often one user may create a room.
    pub fn new(
        database: Database,
        limits: PublishLimits,
        shared: Option<PublishBudgets>,
        new_rooms: Option<Rate>,
    ) -> Self {
        Self { database, limits, shared, new_rooms }
    }

    /// Charges the user only. For leaving, moderating and deleting, which must not be refused because others have
    /// used up the room's budget.
    pub async fn charge_user(&self, user: UserId) -> Result<(), StoreError> {
        if let Some(budgets) = &self.shared {
            return Ok(budgets.charge_user(user)?);
        }
        self.charge(Budget::User, format!("user.{user}"), self.limits.user).await
    }

    /// Charges the user and the room, for an event that members of the room receive.
    pub async fn charge_room(&self, user: UserId, room: RoomId) -> Result<(), StoreError> {
        self.charge_user(user).await?;
        if let Some(budgets) = &self.shared {
            return Ok(budgets.charge_room(room)?);
        }
        self.charge(Budget::Room, format!("room.{room}"), self.limits.room).await
    }

    /// Charges the user for a new room. Without this limit, creating and deleting rooms in a loop would fill the bucket
    /// of revocations.
    pub async fn charge_new_room(&self, user: UserId) -> Result<(), StoreError> {
        self.charge_user(user).await?;
        let Some(rate) = self.new_rooms else { return Ok(()) };
        let wait = charge_key(&self.database, format!("new-rooms.{user}"), rate).await?;
        wait.map_or(Ok(()), |wait| {
            metrics::counter!("chat_publish_refused_total", "code" => "too-many-new-rooms")
                .increment(1);
            Err(TooManyNewRooms { wait }.into())
        })
    }

    async fn charge(
        &self,
        budget: Budget,
        key: String,
        rate: Option<Rate>,
    ) -> Result<(), StoreError> {
        let Some(rate) = rate else { return Ok(()) };
        let Some(wait) = charge_key(&self.database, key, rate).await? else { return Ok(()) };
        let over = OverBudget { budget, wait };
        publish::count(&over);
        Err(over.into())
    }
}

/// Charges one event by the rule of [`Rate::charge`]. Returns how long to wait if the budget is used up.
async fn charge_key(
    database: &Database,
    key: String,
    rate: Rate,
) -> sqlx::Result<Option<Duration>> {
    let now = Utc::now().timestamp_micros();
    let charged: Option<i64> = on_db!(database, e => sqlx::query_scalar(
        "INSERT INTO publish_budget AS b (key, arrival_us) VALUES ($1, $2 + $3)
         ON CONFLICT (key) DO UPDATE
           SET arrival_us = CASE WHEN b.arrival_us > $2 THEN b.arrival_us ELSE $2 END + $3
           WHERE b.arrival_us <= $4
         RETURNING arrival_us"
    )
    .bind(&key)
    .bind(now)
    .bind(rate.interval())
    .bind(rate.latest(now))
    .fetch_optional(e))?;
    if charged.is_some() {
        return Ok(None);
    }
    let arrival: Option<i64> = on_db!(database, e => sqlx::query_scalar(
        "SELECT arrival_us FROM publish_budget WHERE key = $1"
    ).bind(&key).fetch_optional(e))?;
    Ok(Some(rate.wait(arrival.unwrap_or(now), now)))
}

/// Removes budgets that are full again; a missing row means the same.
pub async fn remove_expired(database: &Database) -> anyhow::Result<()> {
    loop {
        let mut tx = database.begin().await?;
        let removed = on_tx!(&mut tx, e => sqlx::query(
            "DELETE FROM publish_budget WHERE key IN (
               SELECT key FROM publish_budget WHERE arrival_us < $1 LIMIT $2)
             AND arrival_us < $1"
        ).bind(Utc::now().timestamp_micros()).bind(ROWS).execute(e))?;
        tx.commit().await?;
        if removed < ROWS as u64 {
            return Ok(());
        }
    }
}
