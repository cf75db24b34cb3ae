//! Whether the database's schema fits this build. A release expands the schema before its servers start, and a later
//! one contracts it, so servers of two releases run on one schema; see "Migrations" in CONTRIBUTING.md.

use super::{Database, migrations, on_db};

/// Why this build cannot use the database's schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database has no schema: run `provision`")]
    Missing,
    #[error(
        "the database's schema is at version {found}, but this release needs version {needed}: run its `provision`"
    )]
    TooOld { found: i64, needed: i64 },
    #[error(
        "the database's schema supports only servers that know version {oldest_known}, and this release knows \
         {known}: run a newer release"
    )]
    Contracted { oldest_known: i64, known: i64 },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Compares the schema with the newest migration of this build. Fails too if the database does not answer.
pub async fn check_schema(database: &Database) -> Result<(), SchemaError> {
    let newest: Result<Option<i64>, sqlx::Error> = on_db!(database, e => sqlx::query_scalar(
        "SELECT MAX(version) FROM _sqlx_migrations WHERE success"
    ).fetch_one(e));
    let found = match newest {
        Ok(found) => found.ok_or(SchemaError::Missing)?,
        Err(error) if is_missing_table(&error) => return Err(SchemaError::Missing),
        Err(error) => return Err(error.into()),
    };
    let known = migrations::newest(database);
    if found < known {
        return Err(SchemaError::TooOld { found, needed: known });
    }
    let oldest_known: i64 = on_db!(database, e => sqlx::query_scalar(
        "SELECT MAX(oldest_known) FROM schema_compat"
    ).fetch_one(e))?;
    if known < oldest_known {
        return Err(SchemaError::Contracted { oldest_known, known });
    }
    Ok(())
}

/// At the start of a server: fails if the schema does not fit. A database that does not answer may fit, and is compared
/// again when readiness is checked.
pub async fn refuse_other_schema(database: &Database) -> Result<(), SchemaError> {
    match check_schema(database).await {
        Err(SchemaError::Database(error)) => {
            tracing::warn!(%error, "the version of the database's schema could not be read");
            Ok(())
        }
        result => result,
    }
}

fn is_missing_table(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    // PostgreSQL has a code for it, SQLite only a message.
    error.code().is_some_and(|code| code == "42P01") || error.message().starts_with("no such table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::on_tx;

    async fn execute(database: &Database, statement: &'static str) {
        let mut tx = database.begin().await.unwrap();
        on_tx!(&mut tx, e => sqlx::query(statement).execute(e)).unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn only_a_schema_that_fits_is_accepted() {
        let database = Database::connect("sqlite::memory:").await.unwrap();
        assert!(matches!(check_schema(&database).await, Err(SchemaError::Missing)));
        migrations::migrate(&database).await.unwrap();
        check_schema(&database).await.unwrap();

        // A later release has expanded the schema.
        let later =
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (9000, 'later', TRUE, x'00', 0)";
        execute(&database, later).await;
        check_schema(&database).await.unwrap();
        // A later one has contracted it.
        execute(&database, "UPDATE schema_compat SET oldest_known = 9000").await;
        let contracted = check_schema(&database).await;
        assert!(matches!(contracted, Err(SchemaError::Contracted { oldest_known: 9000, .. })));

        execute(&database, "DELETE FROM _sqlx_migrations WHERE version >= 10").await;
        let old = check_schema(&database).await;
        assert!(matches!(old, Err(SchemaError::TooOld { found: 9, .. })), "{old:?}");
    }
}
