//! Runs the migrations of either database.

use super::{Database, on_db};

/// Runs pending migrations. A release step of `provision`; servers never run it. Returns the number of migrations
/// before and after.
pub async fn migrate(database: &Database) -> anyhow::Result<(i64, i64)> {
    // A new database has no table of migrations yet.
    let before = count(database).await.unwrap_or(0);
    match database {
        Database::Postgres(pool) => {
            sqlx::migrate!("../../migrations/postgres").run(&**pool).await?
        }
        Database::Sqlite(pool) => sqlx::migrate!("../../migrations/sqlite").run(&**pool).await?,
    }
    Ok((before, count(database).await?))
}

async fn count(database: &Database) -> sqlx::Result<i64> {
    on_db!(database, e => sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations").fetch_one(e))
}

/// Whether the trigram index works for letters beyond ASCII. With PostgreSQL's locale `C` it does not, and a search in
/// other scripts reads every message of the room.
pub async fn indexes_all_scripts(database: &Database) -> sqlx::Result<bool> {
    match database {
        Database::Postgres(pool) => {
            let query = "SELECT cardinality(show_trgm('한글')) > 0";
            sqlx::query_scalar(query).fetch_one(&**pool).await
        }
        Database::Sqlite(_) => Ok(true),
    }
}
