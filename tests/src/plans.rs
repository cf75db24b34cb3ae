//! How PostgreSQL did what it was asked: the plan of every statement, as auto_explain writes it into
//! the server's log (<https://www.postgresql.org/docs/current/auto-explain.html>).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{eventually, postgres};

/// A table with fewer rows is read whole faster than by an index.
const SMALL_TABLE: i64 = 1_000;
/// Rows that one node of a plan may look at. A page is at most 201 rows; a plan that grows with the
/// database looks at all of a big room or of a table.
const ROWS: f64 = 1_000.0;
/// Rows that are sorted: the largest page, and one more that tells whether there is another.
const SORTED: f64 = 201.0;

/// A database whose plans are written down.
pub struct Plans {
    url: String,
    database: String,
}

/// A statement that does too much.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub statement: String,
    /// What is done, and to which table or index.
    pub node: String,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    in {}", self.node, self.what, self.statement)
    }
}

impl Plans {
    /// Has the plan of every statement written down from now on. Who is connected is cut off, to
    /// connect anew.
    pub async fn watch(url: &str) -> Self {
        let mut admin = PgConnection::connect(url).await.unwrap();
        let name = "SELECT current_database()";
        let database: String = sqlx::query_scalar(name).fetch_one(&mut admin).await.unwrap();
        for (setting, value) in [
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_format", "json"),
            // The rows that a node really had. Its time is of no interest and slow to take.
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            // What foreign keys do by themselves.
            ("auto_explain.log_nested_statements", "on"),
        ] {
            let set = format!("ALTER DATABASE {database} SET {setting} = '{value}'");
            admin.execute(AssertSqlSafe(set)).await.unwrap();
        }
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.execute(others).await.unwrap();
        // The functions do not ask a connection that they used within the last second whether it is alive
        // (`ALIVE_FOR` in db.rs): a request on one that was just cut off would be answered 503.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        Self { url: url.to_owned(), database }
    }

    /// Runs a statement, and waits until its plan is written down; so all are that came before it.
    pub async fn run(&self, statement: &'static str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        connection.execute(statement).await.unwrap();
        eventually("a plan in the log", || async {
            self.plans().iter().any(|plan| plan["Query Text"] == statement).then_some(())
        })
        .await;
    }

    /// How many different statements there were, and what is wrong with the plans of some.
    pub async fn faults(&self) -> (usize, Vec<Fault>) {
        let mut admin = PgConnection::connect(&self.url).await.unwrap();
        let sizes: Vec<(String, i64)> = sqlx::query_as(
            "SELECT relname::text, reltuples::bigint FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
        .fetch_all(&mut admin)
        .await
        .unwrap();
        let sizes = sizes.into_iter().collect();
        let plans = self.plans();
        let statements: BTreeSet<String> = plans.iter().map(text).collect();
        // Of one statement's many runs, one is enough.
        let faults: BTreeSet<Fault> = plans.iter().flat_map(|plan| of_plan(plan, &sizes)).collect();
        let mut faults: Vec<Fault> = faults.into_iter().collect();
        faults.dedup_by(|a, b| (&a.statement, &a.node) == (&b.statement, &b.node));
        (statements.len(), faults)
    }

    fn plans(&self) -> Vec<Value> {
        let log = std::fs::read(postgres::log()).unwrap();
        in_log(&String::from_utf8_lossy(&log), &self.database)
    }
}

fn text(plan: &Value) -> String {
    let text = plan["Query Text"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The plans of a database: JSON after a line that ends in `plan:`, each line of it behind a tab.
fn in_log(log: &str, database: &str) -> Vec<Value> {
    let prefix = format!("{database}|");
    let mut plans = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with(&prefix) || !line.ends_with("plan:") {
            continue;
        }
        let mut json = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
            json.push_str(line);
        }
        // The last one may be half written.
        plans.extend(serde_json::from_str::<Value>(&json));
    }
    plans
}

fn of_plan(plan: &Value, sizes: &BTreeMap<String, i64>) -> Vec<Fault> {
    let mut faults = Vec::new();
    of_node(&plan["Plan"], sizes, &mut |node, what| {
        faults.push(Fault { statement: text(plan), node, what });
    });
    faults
}

fn of_node(node: &Value, sizes: &BTreeMap<String, i64>, fault: &mut impl FnMut(String, String)) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str();
    let on = table.or(node["Index Name"].as_str()).unwrap_or_default();
    let size = sizes.get(on).copied().unwrap_or(0);
    let looked_at =
        rows(node, &["Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"]);
    let inputs = node["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sorted = inputs.first().map_or(0.0, |input| rows(input, &["Actual Rows"]));
    if kind == "Seq Scan" && size > SMALL_TABLE {
        fault(format!("{kind} on {on}"), format!("reads all its {size} rows"));
    } else if kind.ends_with("Scan") && looked_at > ROWS {
        fault(format!("{kind} on {on}"), format!("looks at {looked_at} rows"));
    } else if kind.ends_with("Sort") && sorted > SORTED {
        fault(format!("{kind} by {}", node["Sort Key"]), format!("has {sorted} rows"));
    }
    inputs.iter().for_each(|input| of_node(input, sizes, fault));
}

/// The sum of such counts of a node, which are of one loop, over all of its loops.
fn rows(node: &Value, counts: &[&str]) -> f64 {
    let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
    // To look and find nothing is to look at one.
    counts.iter().map(|count| number(count)).sum::<f64>().max(1.0) * number("Actual Loops")
}
