//! A consistent copy of a SQLite database that other processes are using.

use std::path::Path;

use anyhow::Context as _;
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// An object that the copied database refers to.
#[derive(Debug, sqlx::FromRow)]
pub struct ReferredObject {
    pub object_key: String,
    /// Whether its upload is complete: then messages may refer to it.
    pub is_complete: bool,
}

/// Copies the state of one moment, without blocking writers, and checks the copy. `target` must not exist.
pub async fn copy(source: &Path, target: &Path) -> anyhow::Result<()> {
    let path = target.to_str().context("the path of the copy is not UTF-8")?;
    let options = SqliteConnectOptions::new().filename(source);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let copied = sqlx::query("VACUUM INTO $1").bind(path).execute(&mut connection).await;
    connection.close().await?;
    copied.context("cannot copy the database")?;
    let pool = open_copy(target).await?;
    let faults: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&pool).await?;
    pool.close().await;
    anyhow::ensure!(faults == ["ok"], "the database is damaged: {}", faults.join("; "));
    Ok(())
}

/// Every object that a copy made by [`copy`] refers to.
pub async fn referred_objects(copy: &Path) -> anyhow::Result<Vec<ReferredObject>> {
    let pool = open_copy(copy).await?;
    let objects = sqlx::query_as(
        "SELECT object_key, completed_at IS NOT NULL AS is_complete FROM file ORDER BY object_key",
    )
    .fetch_all(&pool)
    .await?;
    pool.close().await;
    Ok(objects)
}

/// Immutable: SQLite creates no journal beside the copy.
async fn open_copy(copy: &Path) -> anyhow::Result<sqlx::SqlitePool> {
    let options = SqliteConnectOptions::new().filename(copy).read_only(true).immutable(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    pool.context("cannot open the copy of the database")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{self, Database};

    #[tokio::test]
    async fn a_copy_is_complete_and_does_not_block_an_open_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let [source, target] = ["chat.db", "copy.db"].map(|name| folder.path().join(name));
        let database = Database::connect(&format!("sqlite://{}", source.display())).await.unwrap();
        db::migrate(&database).await.unwrap();
        let Database::Sqlite(pool) = &database else { panic!("not SQLite") };
        let insert = "INSERT INTO stream_log (stream, stored_seq) VALUES ($1, 1)";
        sqlx::query(insert).bind("committed").execute(&**pool).await.unwrap();
        let mut open = pool.begin().await.unwrap();
        sqlx::query(insert).bind("open").execute(&mut *open).await.unwrap();
        copy(&source, &target).await.unwrap();
        open.commit().await.unwrap();

        assert!(copy(&source, &target).await.is_err(), "nothing is overwritten");
        let copied = open_copy(&target).await.unwrap();
        let streams: Vec<String> =
            sqlx::query_scalar("SELECT stream FROM stream_log").fetch_all(&copied).await.unwrap();
        assert_eq!(streams, ["committed"]);
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with("copy.db")).count(), 1, "no journal");
    }
}
