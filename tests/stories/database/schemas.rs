//! The migrations of both databases make the same schema.

use std::collections::BTreeSet;

use sqlx::{PgPool, SqlitePool};
use stories::{Database, System};

/// Facts that hold in one database only, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "postgres: index message_parts_idx on message using gin room_id, parts gin_trgm_ops",
        "SQLite has no trigram index; one machine's messages are read through",
    ),
    (
        "postgres: index room_parts_idx on room using gin parts gin_trgm_ops",
        "SQLite has no trigram index",
    ),
    (
        "postgres: column outbox.revokes BOOLEAN not null default 0",
        "SQLite stores booleans as integers; this column was declared so",
    ),
    ("sqlite: column outbox.revokes INTEGER not null default 0", "see the line above"),
];

/// A column: table, name, type, whether it is NOT NULL, default.
type Column = (String, String, String, bool, Option<String>);
/// A constraint: kind, table, columns, referenced table, referenced columns, action on delete.
type Constraint = (String, String, Vec<String>, Option<String>, Vec<String>, String);

/// The facts of a schema, each as a line of text.
#[derive(Default)]
struct Schema(BTreeSet<String>);

impl Schema {
    fn add_column(&mut self, (table, name, kind, not_null, default): Column) {
        let null = if not_null { " not null" } else { "" };
        let default = default.map(|default| format!(" default {default}")).unwrap_or_default();
        self.0.insert(format!("column {table}.{name} {kind}{null}{default}"));
    }

    fn add_constraint(&mut self, (kind, table, columns, to, to_columns, on_delete): Constraint) {
        let columns = columns.join(", ");
        let to = to.map(|to| format!(" to {to} ({}) {on_delete}", to_columns.join(", ")));
        self.0.insert(format!("{kind} {table} ({columns}){}", to.unwrap_or_default()));
    }

    /// The databases write the same index with different parentheses and spaces.
    fn add_index(&mut self, sql: &str) {
        let plain = sql.replace(['(', ')', '"'], " ").replace("public.", "").to_lowercase();
        let words: Vec<&str> = plain.split_whitespace().collect();
        let index = words.join(" ").replace(" using btree", "").replace(" ,", ",");
        self.0.insert(index.trim_start_matches("create ").to_owned());
    }
}

/// The type that the SQLite migrations use for a type of PostgreSQL.
fn sqlite_type(postgres: &str) -> String {
    match postgres {
        "uuid" | "bytea" => "BLOB",
        "timestamp with time zone" | "text" => "TEXT",
        "bigint" => "INTEGER",
        "boolean" => "BOOLEAN",
        other => other,
    }
    .to_owned()
}

async fn postgres_schema(pool: &PgPool) -> Schema {
    let mut schema = Schema::default();
    let columns: Vec<Column> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'NO', column_default::text
         FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for (table, name, kind, not_null, default) in columns {
        let default = default.map(|default| {
            let value = default.split("::").next().unwrap_or_default();
            value.replace("false", "0").replace("true", "1")
        });
        schema.add_column((table, name, sqlite_type(&kind), not_null, default));
    }
    let constraints: Vec<Constraint> = sqlx::query_as(
        "SELECT CASE c.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' ELSE 'foreign key' END,
           t.relname::text,
           ARRAY(SELECT a.attname::text FROM UNNEST(c.conkey) WITH ORDINALITY k (number, place)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place),
           f.relname::text,
           ARRAY(SELECT a.attname::text FROM UNNEST(c.confkey) WITH ORDINALITY k (number, place)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY k.place),
           CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'r' THEN 'RESTRICT'
             ELSE 'NO ACTION' END
         FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_class f ON f.oid = c.confrelid
         WHERE c.connamespace = 'public'::regnamespace AND c.contype IN ('p', 'u', 'f')",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    constraints.into_iter().for_each(|constraint| schema.add_constraint(constraint));
    let indexes: Vec<String> = sqlx::query_scalar(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT IN
           (SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u'))",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    indexes.iter().for_each(|index| schema.add_index(index));
    schema
}

async fn sqlite_schema(pool: &SqlitePool) -> Schema {
    let mut schema = Schema::default();
    let columns: Vec<(String, String, String, bool, Option<String>, i64)> = sqlx::query_as(
        "SELECT m.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk
         FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type IN ('table', 'view')
         ORDER BY m.name, c.pk",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut primary_keys = std::collections::BTreeMap::<String, Vec<String>>::new();
    for (table, name, kind, not_null, default, key) in columns {
        if key > 0 {
            primary_keys.entry(table.clone()).or_default().push(name.clone());
        }
        // SQLite allows NULL in most primary keys, PostgreSQL never does.
        schema.add_column((table, name, kind, not_null || key > 0, default));
    }
    let none = || (None, Vec::new(), String::new());
    for (table, columns) in primary_keys {
        let (to, to_columns, action) = none();
        schema.add_constraint(("primary key".to_owned(), table, columns, to, to_columns, action));
    }
    let unique: Vec<(String, String)> = sqlx::query_as(
        "SELECT m.name, (SELECT group_concat(c.name, ', ') FROM pragma_index_info(i.name) c)
         FROM sqlite_master m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin = 'u'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for (table, columns) in unique {
        let (to, to_columns, action) = none();
        schema.add_constraint(("unique".to_owned(), table, vec![columns], to, to_columns, action));
    }
    let foreign: Vec<(String, String, String, String, String)> = sqlx::query_as(
        "SELECT m.name, group_concat(f.\"from\", ', '), f.\"table\", group_concat(f.\"to\", ', '), f.on_delete
         FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'
         GROUP BY m.name, f.id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    for (table, columns, to, to_columns, action) in foreign {
        let (kind, to) = ("foreign key".to_owned(), Some(to));
        schema.add_constraint((kind, table, vec![columns], to, vec![to_columns], action));
    }
    let indexes: Vec<String> = sqlx::query_scalar(
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    indexes.iter().for_each(|index| schema.add_index(index));
    schema
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_migrations_of_both_databases_make_the_same_schema() {
    use store::db::Database::{Postgres, Sqlite};
    let mut schemas = Vec::new();
    for database in [Database::Postgres, Database::Sqlite] {
        let system = System::new(database).await;
        let database = system.connect_database().await;
        let mut schema = match &database {
            Postgres(pool) => postgres_schema(pool).await,
            Sqlite(pool) => sqlite_schema(pool).await,
        };
        // The table in which sqlx records the migrations.
        schema.0.retain(|fact| !fact.contains("_sqlx_migrations"));
        assert!(schema.0.len() > 100, "{:?}", schema.0);
        database.close().await;
        schemas.push(schema.0);
    }
    let [postgres, sqlite] = [&schemas[0], &schemas[1]];
    let only_postgres = postgres.difference(sqlite).map(|fact| format!("postgres: {fact}"));
    let only_sqlite = sqlite.difference(postgres).map(|fact| format!("sqlite: {fact}"));
    let found: BTreeSet<String> = only_postgres.chain(only_sqlite).collect();
    let meant: BTreeSet<String> = DIFFERENCES.iter().map(|(fact, _)| (*fact).to_owned()).collect();
    let new: Vec<&String> = found.difference(&meant).collect();
    let gone: Vec<&String> = meant.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "not meant: {new:#?}\nno longer there: {gone:#?}");
}
