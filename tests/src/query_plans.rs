//! The plans of all statements that PostgreSQL executes, read from the log of auto_explain
//! (<https://www.postgresql.org/docs/current/auto-explain.html>).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{postgres, wait::eventually};

/// A sequential scan of a table with fewer rows is faster than an index scan.
const SMALL_TABLE: i64 = 1_000;
/// The rows that one node of a plan may read. A page is at most 201 rows; a plan that grows with the
/// database reads a whole big room or a whole table.
const MAX_ROWS: f64 = 1_000.0;
/// The rows that a node may sort: the largest page, and one row more that shows whether another follows.
const MAX_SORTED: f64 = 201.0;

/// A database whose plans are logged.
pub struct QueryPlans {
    url: String,
    database: String,
}

/// A node of a plan that does too much work.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanFault {
    pub statement: String,
    /// The kind of node, and its table or index.
    pub node: String,
    /// The work that is too much.
    pub fault: String,
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    in {}", self.node, self.fault, self.statement)
    }
}

impl QueryPlans {
    /// Logs the plan of every statement from now on. Existing connections are ended, because the setting
    /// takes effect for new ones only.
    pub async fn watch(url: &str) -> Self {
        let mut admin = PgConnection::connect(url).await.unwrap();
        let name = "SELECT current_database()";
        let database: String = sqlx::query_scalar(name).fetch_one(&mut admin).await.unwrap();
        for (setting, value) in [
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_format", "json"),
            // The rows that a node really returned. Its time is not needed and slow to measure.
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            // The statements that foreign keys execute.
            ("auto_explain.log_nested_statements", "on"),
        ] {
            let set = format!("ALTER DATABASE {database} SET {setting} = '{value}'");
            admin.execute(AssertSqlSafe(set)).await.unwrap();
        }
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.execute(others).await.unwrap();
        // This wait is for an expiry: the functions do not test a pooled connection that they used within
        // the last second (`ALIVE_FOR`). A request on one that was just ended would be answered with 503.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        Self { url: url.to_owned(), database }
    }

    /// Executes a statement and waits until its plan is logged. All earlier plans are logged by then.
    pub async fn run(&self, statement: &'static str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        connection.execute(statement).await.unwrap();
        eventually("a plan in the log", || async {
            self.plans().iter().any(|plan| plan["Query Text"] == statement).then_some(())
        })
        .await;
    }

    /// The number of different statements, and the faults of their plans.
    pub async fn faults(&self) -> (usize, Vec<PlanFault>) {
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
        // One fault of a statement's many executions is enough.
        let faults: BTreeSet<PlanFault> =
            plans.iter().flat_map(|plan| plan_faults(plan, &sizes)).collect();
        let mut faults: Vec<PlanFault> = faults.into_iter().collect();
        faults.dedup_by(|a, b| (&a.statement, &a.node) == (&b.statement, &b.node));
        (statements.len(), faults)
    }

    fn plans(&self) -> Vec<Value> {
        let log = std::fs::read(postgres::log()).unwrap();
        logged_plans(&String::from_utf8_lossy(&log), &self.database)
    }
}

fn text(plan: &Value) -> String {
    let text = plan["Query Text"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The plans of a database: JSON after a line that ends in `plan:`, each line of it after a tab.
fn logged_plans(log: &str, database: &str) -> Vec<Value> {
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
        // The last plan may be incomplete: the server is still writing it.
        plans.extend(serde_json::from_str::<Value>(&json));
    }
    plans
}

fn plan_faults(plan: &Value, sizes: &BTreeMap<String, i64>) -> Vec<PlanFault> {
    let mut faults = Vec::new();
    node_faults(&plan["Plan"], sizes, &mut |node, fault| {
        faults.push(PlanFault { statement: text(plan), node, fault });
    });
    faults
}

fn node_faults(
    node: &Value,
    sizes: &BTreeMap<String, i64>,
    fault: &mut impl FnMut(String, String),
) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str();
    let on = table.or(node["Index Name"].as_str()).unwrap_or_default();
    let size = sizes.get(on).copied().unwrap_or(0);
    let rows_read =
        rows(node, &["Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"]);
    let inputs = node["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sorted = inputs.first().map_or(0.0, |input| rows(input, &["Actual Rows"]));
    if kind == "Seq Scan" && size > SMALL_TABLE {
        fault(format!("{kind} on {on}"), format!("reads all its {size} rows"));
    } else if kind.ends_with("Scan") && rows_read > MAX_ROWS {
        fault(format!("{kind} on {on}"), format!("reads {rows_read} rows"));
    } else if kind.ends_with("Sort") && sorted > MAX_SORTED {
        fault(format!("{kind} by {}", node["Sort Key"]), format!("sorts {sorted} rows"));
    }
    inputs.iter().for_each(|input| node_faults(input, sizes, fault));
}

/// The sum of counts of a node over all its loops. PostgreSQL reports averages of one loop.
fn rows(node: &Value, counts: &[&str]) -> f64 {
    let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
    // A loop that finds nothing still costs a look-up.
    counts.iter().map(|count| number(count)).sum::<f64>().max(1.0) * number("Actual Loops")
}
