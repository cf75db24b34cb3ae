//! Budgets of what a user and a room may publish by HTTP, counted in the database: whichever instance
//! is asked, they are the same. Charged before a transaction begins and after it is known that the
//! caller may do what they ask for.

use chrono::Utc;
use protocol::{
    RoomId, UserId,
    rate::{Budget, OverBudget, Rate},
};
use service::publish;

use crate::{
    db::{Database, on_db, on_tx},
    error::ApiError,
    state::State,
};

/// Rows that are removed by one statement.
const ROWS: i64 = 2_000;

/// Takes from the caller's budget: for what they do to a room, and what every gateway is told.
/// Leaving, moderating and deleting is not refused for what others send to a room.
pub async fn charge_user(state: &State, user: UserId) -> Result<(), ApiError> {
    if let Some(budgets) = &state.config.shared_budgets {
        return Ok(budgets.charge_user(user)?);
    }
    let rate = state.config.publish.user;
    charge(&state.database, Budget::User, format!("user.{user}"), rate).await
}

/// Takes from the caller's budget and from the room's: for what comes to be in it.
pub async fn charge_room(state: &State, user: UserId, room: RoomId) -> Result<(), ApiError> {
    charge_user(state, user).await?;
    if let Some(budgets) = &state.config.shared_budgets {
        return Ok(budgets.charge_room(room)?);
    }
    let rate = state.config.publish.room;
    charge(&state.database, Budget::Room, format!("room.{room}"), rate).await
}

/// For a new room. One that is made and deleted again in a loop would also fill the bucket in which
/// gateways find what is revoked.
pub async fn charge_new_room(state: &State, user: UserId) -> Result<(), ApiError> {
    charge_user(state, user).await?;
    let Some(rate) = state.config.new_rooms else { return Ok(()) };
    let wait = spend(&state.database, format!("new-rooms.{user}"), rate).await?;
    wait.map_or(Ok(()), |wait| {
        metrics::counter!("publish_refused_total", "code" => "too-many-new-rooms").increment(1);
        Err(ApiError::TooManyNewRooms(wait))
    })
}

async fn charge(
    database: &Database,
    budget: Budget,
    key: String,
    rate: Option<Rate>,
) -> Result<(), ApiError> {
    let Some(rate) = rate else { return Ok(()) };
    let Some(wait) = spend(database, key, rate).await? else { return Ok(()) };
    let over = OverBudget { budget, wait };
    publish::count(&over);
    Err(over.into())
}

/// One event, by the rule of [`Rate::charge`]. How long to wait, if it is one too many.
async fn spend(
    database: &Database,
    key: String,
    rate: Rate,
) -> sqlx::Result<Option<std::time::Duration>> {
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

/// Removes what is paid off; a key without a row is one that has published nothing.
pub async fn tidy(database: &Database) -> anyhow::Result<()> {
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
