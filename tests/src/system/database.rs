//! Direct access to the database: queries, statements, backups and outages.

use super::System;

/// Every table, each after the tables that it refers to.
const TABLES: [&str; 15] = [
    "account",
    "session",
    "refresh_token",
    "room",
    "member",
    "message",
    "file",
    "doomed_object",
    "outbox",
    "attempt",
    "ban",
    "room_log",
    "read_mark",
    "reaction",
    "stream_log",
];

impl System {
    /// A new pool of connections to the database.
    pub async fn connect_database(&self) -> store::db::Database {
        store::db::Database::connect(&self.variables["DATABASE_URL"]).await.unwrap()
    }

    pub fn is_postgres(&self) -> bool {
        self.variables["DATABASE_URL"].starts_with("postgres")
    }

    /// The number of archived messages.
    pub async fn count_messages(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM message").await
    }

    /// The result of a query for one number.
    pub async fn count(&self, statement: &'static str) -> i64 {
        use store::db::Database::{Postgres, Sqlite};
        let database = self.connect_database().await;
        let count = match &database {
            Postgres(pool) => sqlx::query_scalar(statement).fetch_one(&**pool).await,
            Sqlite(pool) => sqlx::query_scalar(statement).fetch_one(&**pool).await,
        };
        database.close().await;
        count.unwrap()
    }

    /// Executes a statement; returns the number of affected rows.
    pub async fn execute(&self, statement: &str) -> u64 {
        use store::db::Database::{Postgres, Sqlite};
        let database = self.connect_database().await;
        let statement = sqlx::AssertSqlSafe(statement);
        let done = match &database {
            Postgres(pool) => {
                sqlx::query(statement).execute(&**pool).await.map(|done| done.rows_affected())
            }
            Sqlite(pool) => {
                sqlx::query(statement).execute(&**pool).await.map(|done| done.rows_affected())
            }
        };
        database.close().await;
        done.unwrap()
    }

    /// Uses a new, empty database for everything that is started after this; returns its URL.
    pub async fn use_new_database(&mut self) -> String {
        let url = crate::postgres::new_database().await;
        self.set_variable("DATABASE_URL", &url);
        url
    }

    /// Copies every table, as a backup does.
    pub async fn back_up_database(&self) {
        for table in TABLES {
            self.execute(&format!("CREATE TABLE backup_{table} AS SELECT * FROM {table}")).await;
        }
    }

    /// Replaces the content of every table by that of the backup.
    pub async fn restore_database(&self) {
        for table in TABLES.iter().rev() {
            self.execute(&format!("DELETE FROM {table}")).await;
        }
        for table in TABLES {
            self.execute(&format!("INSERT INTO {table} SELECT * FROM backup_{table}")).await;
        }
    }

    /// Allows connections to the PostgreSQL database, or refuses new ones and ends the existing ones.
    pub async fn allow_database_connections(&self, allow: bool) {
        use sqlx::{Connection as _, Executor as _};
        let (server, name) = self.variables["DATABASE_URL"].rsplit_once('/').unwrap();
        let mut admin = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        let set = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}");
        admin.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        if !allow {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            );
            admin.execute(sqlx::AssertSqlSafe(end)).await.unwrap();
        }
    }
}
