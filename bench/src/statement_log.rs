//! Statements and parameters that `functions` sends for a page, read from PostgreSQL's log. The bare server runs the
//! same statements, so that the comparison stays valid when they change.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::postgres::Postgres;

/// Time that PostgreSQL's processes need to reload the configuration.
const RELOAD_TIME: Duration = Duration::from_millis(300);

/// A statement that was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub sql: String,
    /// As text; `None` is NULL.
    pub parameters: Vec<Option<String>>,
}

/// Runs `request` and returns the statements that PostgreSQL executed meanwhile.
pub fn record_statements(
    postgres: &Postgres,
    request: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Statement>> {
    set_log_statement(postgres, "all")?;
    let before = postgres.log()?.len();
    let result = request();
    let log = postgres.log()?;
    set_log_statement(postgres, "none")?;
    result?;
    let statements = parse_log(log.get(before..).context("the log was truncated")?);
    ensure!(!statements.is_empty(), "PostgreSQL logged no statement");
    Ok(statements)
}

fn set_log_statement(postgres: &Postgres, which: &str) -> anyhow::Result<()> {
    for statement in
        [&format!("ALTER SYSTEM SET log_statement = '{which}'"), "SELECT pg_reload_conf()"]
    {
        postgres.execute("postgres", statement)?;
    }
    thread::sleep(RELOAD_TIME);
    Ok(())
}

/// Prepared statements and their parameters. `BEGIN` and the like are not prepared, so they are skipped.
fn parse_log(log: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    // Continuation lines of a message begin with a tab.
    for message in log.replace("\n\t", "\u{1}").lines() {
        let message = message.replace('\u{1}', "\n");
        if let Some((_, rest)) = message.split_once("LOG:  execute ") {
            let sql = rest.split_once(": ").map_or("", |(_, sql)| sql).to_owned();
            statements.push(Statement { sql, parameters: Vec::new() });
        } else if let Some((_, rest)) = message.split_once("DETAIL:  parameters: ")
            && let Some(last) = statements.last_mut()
        {
            last.parameters = parse_parameters(rest);
        }
    }
    statements
}

/// Parses `$1 = 'it''s', $2 = NULL`.
fn parse_parameters(mut text: &str) -> Vec<Option<String>> {
    let mut parameters = Vec::new();
    while let Some((_, rest)) = text.split_once(" = ") {
        let Some(quoted) = rest.strip_prefix('\'') else {
            parameters.push(None);
            text = rest;
            continue;
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices().peekable();
        text = "";
        while let Some((at, c)) = chars.next() {
            if c != '\'' {
                value.push(c);
            } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
                value.push('\'');
            } else {
                text = &quoted[at + 1..];
                break;
            }
        }
        parameters.push(Some(value));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_parsed_from_the_log() {
        let log = "2026-11-24 06:00:00.000 UTC [7] LOG:  execute sqlx_s_1: SELECT 1\n\tFROM a WHERE b = $1\n\
                   2026-11-24 06:00:00.000 UTC [7] DETAIL:  parameters: $1 = 'it''s = $2', $2 = NULL, $3 = '7'\n\
                   2026-11-24 06:00:00.000 UTC [7] LOG:  statement: BEGIN\n\
                   2026-11-24 06:00:00.000 UTC [7] LOG:  execute sqlx_s_2: SELECT 2\n";
        let statements = parse_log(log);
        assert_eq!(statements.len(), 2);
        assert_eq!(statements[0].sql, "SELECT 1\nFROM a WHERE b = $1");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(statements[0].parameters, [text("it's = $2"), None, text("7")]);
        assert_eq!(statements[1], Statement { sql: "SELECT 2".into(), parameters: vec![] });
    }
}
