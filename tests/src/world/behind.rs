//! What a story sees and does behind everybody's back: in the database, and in NATS.

use protocol::{
    MessageId, Role, RoomId, Seq, Timestamp, UserId,
    stored::{Message, Person, StoredEvent},
    subject::{self, MemberState, Revoked, Shards},
};
use service::roomlog::RoomLog;

use super::World;

/// Every table, each after those that it refers to.
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

impl World {
    /// The database, with connections of one's own.
    pub async fn database(&self) -> store::db::Database {
        store::db::Database::connect(&self.variables["DATABASE_URL"]).await.unwrap()
    }

    pub fn is_postgres(&self) -> bool {
        self.variables["DATABASE_URL"].starts_with("postgres")
    }

    /// How many messages are archived.
    pub async fn count_messages(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM message").await
    }

    /// The number that a statement asks the database for.
    pub async fn count(&self, statement: &'static str) -> i64 {
        use store::db::Database::{Postgres, Sqlite};
        let database = self.database().await;
        let count = match &database {
            Postgres(pool) => sqlx::query_scalar(statement).fetch_one(&**pool).await,
            Sqlite(pool) => sqlx::query_scalar(statement).fetch_one(&**pool).await,
        };
        database.close().await;
        count.unwrap()
    }

    /// Does something to the database behind everybody's back; how many rows it was done to.
    pub async fn sql(&self, statement: &str) -> u64 {
        use store::db::Database::{Postgres, Sqlite};
        let database = self.database().await;
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

    /// Copies every table aside, as a backup of the database.
    pub async fn back_up_database(&self) {
        for table in TABLES {
            self.sql(&format!("CREATE TABLE backup_{table} AS SELECT * FROM {table}")).await;
        }
    }

    /// The database is as it was at the backup.
    pub async fn restore_database(&self) {
        for table in TABLES.iter().rev() {
            self.sql(&format!("DELETE FROM {table}")).await;
        }
        for table in TABLES {
            self.sql(&format!("INSERT INTO {table} SELECT * FROM backup_{table}")).await;
        }
    }

    /// Lets nobody into the PostgreSQL database, and whoever is in out; or lets all in again.
    pub async fn database_lets_in(&self, whoever: bool) {
        use sqlx::{Connection as _, Executor as _};
        let (server, name) = self.variables["DATABASE_URL"].rsplit_once('/').unwrap();
        let mut admin = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        let allow = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {whoever}");
        admin.execute(sqlx::AssertSqlSafe(allow)).await.unwrap();
        if !whoever {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            );
            admin.execute(sqlx::AssertSqlSafe(end)).await.unwrap();
        }
    }

    /// Makes JetStream forget which messages it has seen, as it does after its window.
    pub async fn forget_message_ids(&self) {
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        let mut config = admin.get_stream("CHAT_0").await.unwrap().cached_info().config.clone();
        let window = config.duplicate_window;
        config.duplicate_window = std::time::Duration::from_millis(100);
        admin.update_stream(config.clone()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        config.duplicate_window = window;
        admin.update_stream(config).await.unwrap();
    }

    /// What an archive took and did not acknowledge comes again after so long, to no story's delay.
    pub async fn give_again_after(&self, wait: std::time::Duration) {
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        let stream = admin.get_stream("CHAT_0").await.unwrap();
        let mut config = stream.consumer_info("archive").await.unwrap().config;
        config.ack_wait = wait;
        stream.update_consumer(config).await.unwrap();
    }

    /// How many events of a room the stream holds.
    pub async fn events_in_stream(&self, room: RoomId) -> usize {
        self.events(room).await.len()
    }

    /// The events of a room that the stream holds.
    pub async fn events(&self, room: RoomId) -> Vec<StoredEvent> {
        let log = RoomLog::new(self.nats_as("functions").await, Shards::new(1).unwrap());
        let entries = log.after(room, Seq::ZERO, 10_000).await.unwrap();
        entries.iter().map(|entry| StoredEvent::decode(&entry.payload).unwrap()).collect()
    }

    /// Stores an event in a room, as the functions do.
    pub async fn append(&self, room: RoomId, event: StoredEvent) {
        let shards = Shards::new(1).unwrap();
        let log = RoomLog::new(self.nats_as("functions").await, shards);
        let id = uuid::Uuid::now_v7().to_string();
        let pending = log.append(room, &id, event.encode().into(), None).await.unwrap();
        pending.stored().await.unwrap();
    }

    /// Stores messages of a user in a room, many at once.
    pub async fn append_messages(&self, room: RoomId, user: UserId, count: usize) {
        let context = async_nats::jetstream::new(self.nats_as("functions").await);
        let subject = subject::stored(Shards::new(1).unwrap(), room);
        let from = Person { id: user, name: "Ada".parse().unwrap() };
        let mut pending = Vec::new();
        for _ in 0..count {
            let event = StoredEvent::ReceiveMsg(Message {
                id: MessageId::generate(),
                from: from.clone(),
                msg: "one of many".parse().unwrap(),
                at: Timestamp::now(),
                file: None,
                reply_to: None,
            });
            pending.push(context.publish(subject.clone(), event.encode().into()).await.unwrap());
        }
        for stored in pending {
            stored.await.unwrap();
        }
    }

    /// Publishes anything on a stored subject, as a faulty gateway might; its seq, or none where the
    /// stream takes no more.
    pub async fn publish_raw(&self, subject: String, payload: Vec<u8>) -> Option<u64> {
        let context = async_nats::jetstream::new(self.nats_as("gateway").await);
        let stored = context.publish(subject, payload.into()).await.unwrap().await;
        stored.ok().map(|ack| ack.sequence)
    }

    /// The dead letters: subject, reason, payload.
    pub async fn dead_letters(&self) -> Vec<(String, String, Vec<u8>)> {
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        let stream = admin.get_stream(subject::DEAD_STREAM).await.unwrap();
        let mut letters = Vec::new();
        for seq in 1..=stream.cached_info().state.last_sequence {
            let letter = stream.get_raw_message(seq).await.unwrap();
            let header = |name: &str| letter.headers.get(name).unwrap().to_string();
            letters.push((header("Chat-Subject"), header("Chat-Reason"), letter.payload.to_vec()));
        }
        letters
    }

    /// Says what a user is in a room since a version of it, as the functions do.
    pub async fn change_member(
        &self,
        room: RoomId,
        user: UserId,
        version: u64,
        role: Option<Role>,
    ) {
        let key = Revoked::Member(room, user).key();
        let put = subject::bucket_put(subject::REVOKED_BUCKET, &key);
        let context = async_nats::jetstream::new(self.nats_as("functions").await);
        let value = MemberState { version, role }.encode();
        context.publish(put, value.into()).await.unwrap().await.unwrap();
    }

    /// A connection to NATS in a role of nats.conf.
    pub async fn nats_as(&self, role: &'static str) -> async_nats::Client {
        let config = self.read(|env| service::nats::NatsConfig::from_env(env, role));
        service::nats::connect(&config, |_| {}).await.unwrap()
    }
}
