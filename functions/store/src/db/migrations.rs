//! Runs the migrations of either database.

use sqlx::migrate::Migrator;

use super::{Database, on_db};

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Runs pending migrations. A release step of `provision`; servers never run it. Returns the number of migrations
/// before and after.
pub async fn migrate(database: &Database) -> anyhow::Result<(i64, i64)> {
    // A new database has no table of migrations yet.
    let before = count(database).await.unwrap_or(0);
    match database {
        Database::Postgres(pool) => POSTGRES.run(&**pool).await?,
        Database::Sqlite(pool) => SQLITE.run(&**pool).await?,
    }
    Ok((before, count(database).await?))
}

/// The version of the newest migration of this build.
pub(super) fn newest(database: &Database) -> i64 {
    let migrator = match database {
        Database::Postgres(_) => &POSTGRES,
        Database::Sqlite(_) => &SQLITE,
    };
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
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
