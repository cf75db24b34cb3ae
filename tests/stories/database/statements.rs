//! Every SQL statement of the product is valid on the databases that execute it.

use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};
use stories::{Database, Insert, Statements, System, placeholders};

const FOLDERS: [&str; 2] = ["functions", "infra"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Postgres,
    Sqlite,
}

use Dialect::{Postgres, Sqlite};

/// Statements that only one database executes: a part of the statement, the database, and the reason.
const ONE_DATABASE: &[(&str, Dialect, &str)] = &[
    ("ANY($", Postgres, "an array as a parameter; SQLite has json_each or single calls"),
    ("UNNEST($", Postgres, "rows as columns of arrays; SQLite inserts them one by one"),
    ("FOR SHARE", Postgres, "a row lock; SQLite has one writer"),
    ("FOR UPDATE", Postgres, "a row lock; SQLite has one writer"),
    ("FOR NO KEY UPDATE", Postgres, "a row lock; SQLite has one writer"),
    ("json_each($", Sqlite, "a list as a parameter; PostgreSQL has arrays"),
    ("show_trgm(", Postgres, "the index of PostgreSQL for parts of words"),
    ("pg_settings", Postgres, "the settings of a PostgreSQL connection"),
];

/// Statements that are completed at run time: the beginning of the template, and a value for each `{…}`.
const TEMPLATES: &[(&str, &[(&str, &str)])] = &[
    ("SELECT author_id, id FROM message", &[("pairs", "($3, $4), ($5, $6)")]),
    (
        "SELECT set_config(s.name,",
        &[("is_local", "true"), ("statement", "1000"), ("idle", "2000"), ("check", "500")],
    ),
];

/// Statements whose parameters PostgreSQL cannot infer: a part of the statement, and the types that the code binds.
const PARAMETERS: &[(&str, &str)] = &[
    ("SELECT key, 1, $3, $5 FROM", "bytea, bytea, timestamptz, timestamptz, timestamptz"),
    ("VALUES ($1, 0, $3, $4), ($2", "bytea, bytea, timestamptz, timestamptz, boolean"),
    ("INSERT INTO publish_budget AS b", "text, bigint, bigint, bigint"),
    ("INSERT INTO rate_limit AS r", "bytea, bigint, bigint, bigint"),
    ("SELECT author_id, id FROM message", "uuid, bigint, uuid, uuid, uuid, uuid"),
];

fn complete(template: &str) -> Option<String> {
    let (_, values) = TEMPLATES.iter().find(|(beginning, _)| template.starts_with(beginning))?;
    let names = values.iter().map(|(name, _)| *name).collect();
    assert_eq!(placeholders(template), names, "{template}");
    let fill =
        |text: String, (name, value): &(&str, &str)| text.replace(&format!("{{{name}}}"), value);
    Some(values.iter().fold(template.to_owned(), fill))
}

async fn prepare(system: &System, statement: &str) -> Result<(), String> {
    use store::db::Database::{Postgres, Sqlite};
    let database = system.connect_database().await;
    let typed = PARAMETERS.iter().find(|(part, _)| statement.contains(part));
    let with_types = typed.map(|(_, types)| format!("PREPARE checked ({types}) AS {statement}"));
    let statement = AssertSqlSafe(statement).into_sql_str();
    let prepared = match &database {
        Postgres(pool) => match with_types {
            Some(prepare) => pool.execute(AssertSqlSafe(prepare)).await.map(drop),
            None => pool.prepare(statement).await.map(drop),
        },
        Sqlite(pool) => pool.prepare(statement).await.map(drop),
    };
    database.close().await;
    prepared.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_is_valid_on_both_databases() {
    let Statements { mut whole, templates, inserts } = Statements::find(&FOLDERS);
    for (template, file) in templates {
        let statement = complete(&template);
        let statement =
            statement.unwrap_or_else(|| panic!("add {template} of {file:?} to TEMPLATES"));
        whole.insert(statement, file);
    }
    for Insert { into, kinds, tail } in inserts {
        let numbered = |cast: fn(&str) -> String| {
            let columns = kinds.iter().zip(1..).map(|(kind, n)| format!("${n}{}", cast(kind)));
            columns.collect::<Vec<_>>().join(", ")
        };
        let arrays = numbered(|kind| format!("::{kind}[]"));
        let postgres = format!("{into} SELECT * FROM UNNEST({arrays}) {tail}");
        let sqlite = format!("{into} VALUES ({}) {tail}", numbered(|_| String::new()));
        whole.extend([postgres, sqlite].map(|statement| (statement, "insert!".into())));
    }
    assert!(whole.len() > 80, "only {} statements were found", whole.len());
    let systems = [
        (Postgres, System::new(Database::Postgres).await),
        (Sqlite, System::new(Database::Sqlite).await),
    ];
    let mut faults = Vec::new();
    for (statement, file) in &whole {
        let only: Vec<Dialect> = ONE_DATABASE
            .iter()
            .filter(|(part, ..)| statement.contains(part))
            .map(|(_, dialect, _)| *dialect)
            .collect();
        for (dialect, system) in &systems {
            if only.iter().all(|only| only == dialect)
                && let Err(error) = prepare(system, statement).await
            {
                faults.push(format!("{dialect:?}: {error}\n  in {}: {statement}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
