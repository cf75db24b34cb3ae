//! An HTTP server that only runs a page's statements and returns their rows, with axum, sqlx and the pool settings of
//! the functions. The difference to the functions is the cost of everything that is not the database.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Either, Executor as _, PgPool, Row as _,
    SqlSafeStr as _, SqlStr, Statement as _, TypeInfo as _,
    postgres::{PgArguments, PgPoolOptions, PgRow},
};
use uuid::Uuid;

use crate::statement_log::Statement;

/// Pool settings of the functions.
const MAX_CONNECTIONS: u32 = 16;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);

/// Variable with the statements as JSON.
pub const STATEMENTS: &str = "PEER_STATEMENTS";
pub const DATABASE_URL: &str = "DATABASE_URL";

#[derive(Clone)]
struct Pages {
    pool: PgPool,
    statements: Arc<[Prepared]>,
}

/// A statement with bound parameters.
struct Prepared {
    sql: SqlStr,
    arguments: PgArguments,
    columns: Vec<(String, Kind)>,
}

/// Types of columns and parameters.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bool,
    Int4,
    Int8,
    Text,
    Time,
    Uuid,
    Uuids,
}

/// Serves until the process is killed.
pub fn run(address: SocketAddr) -> anyhow::Result<()> {
    let statements = std::env::var(STATEMENTS).context(STATEMENTS)?;
    let statements: Vec<Statement> = serde_json::from_str(&statements)?;
    let url = std::env::var(DATABASE_URL).context(DATABASE_URL)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect(&url)
            .await?;
        let mut prepared = Vec::new();
        for statement in &statements {
            prepared.push(prepare(&pool, statement).await.context(statement.sql.clone())?);
        }
        let router = Router::new()
            .route("/", get(page))
            .with_state(Pages { pool, statements: prepared.into() });
        let listener = tokio::net::TcpListener::bind(address).await?;
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn prepare(pool: &PgPool, statement: &Statement) -> anyhow::Result<Prepared> {
    let sql = AssertSqlSafe(statement.sql.clone()).into_sql_str();
    let described = pool.prepare(sql.clone()).await?;
    let mut arguments = PgArguments::default();
    let types = match described.parameters() {
        Some(Either::Left(types)) => types,
        _ => &[],
    };
    for (text, type_info) in statement.parameters.iter().zip(types) {
        let text = text.as_deref().context("NULL parameters are not supported")?;
        let bound = match kind(type_info.name())? {
            Kind::Bool => arguments.add(text == "t"),
            Kind::Int4 => arguments.add(text.parse::<i32>()?),
            Kind::Int8 => arguments.add(text.parse::<i64>()?),
            Kind::Text => arguments.add(text),
            Kind::Time => arguments.add(text.replace(' ', "T").parse::<DateTime<Utc>>()?),
            Kind::Uuid => arguments.add(text.parse::<Uuid>()?),
            Kind::Uuids => arguments.add(uuids(text)?),
        };
        bound.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let columns = described.columns().iter();
    let columns =
        columns.map(|column| Ok((column.name().to_owned(), kind(column.type_info().name())?)));
    Ok(Prepared { sql, arguments, columns: columns.collect::<anyhow::Result<_>>()? })
}

fn kind(type_name: &str) -> anyhow::Result<Kind> {
    Ok(match type_name {
        "BOOL" => Kind::Bool,
        "INT4" => Kind::Int4,
        "INT8" => Kind::Int8,
        "TEXT" | "VARCHAR" => Kind::Text,
        "TIMESTAMPTZ" => Kind::Time,
        "UUID" => Kind::Uuid,
        "UUID[]" => Kind::Uuids,
        other => bail!("values of type {other} are not supported"),
    })
}

/// An array as PostgreSQL writes it, such as `{a,b}`.
fn uuids(text: &str) -> anyhow::Result<Vec<Uuid>> {
    let items = text.trim_start_matches('{').trim_end_matches('}').split(',');
    items.filter(|item| !item.is_empty()).map(|item| Ok(item.parse()?)).collect()
}

async fn page(State(pages): State<Pages>) -> Response {
    match rows_as_json(&pages).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            eprintln!("{error:#}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The rows of all statements as one JSON array.
async fn rows_as_json(pages: &Pages) -> anyhow::Result<Vec<u8>> {
    let mut body = vec![b'['];
    for Prepared { sql, arguments, columns } in &*pages.statements {
        let query = sqlx::query_with(sql.clone(), arguments.clone());
        for row in query.fetch_all(&pages.pool).await? {
            body.push(if body.len() == 1 { b' ' } else { b',' });
            write_row(&row, columns, &mut body)?;
        }
    }
    body.push(b']');
    Ok(body)
}

fn write_row(row: &PgRow, columns: &[(String, Kind)], out: &mut Vec<u8>) -> anyhow::Result<()> {
    for (index, (name, kind)) in columns.iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        match kind {
            Kind::Bool => write_value::<bool>(row, index, out)?,
            Kind::Int4 => write_value::<i32>(row, index, out)?,
            Kind::Int8 => write_value::<i64>(row, index, out)?,
            Kind::Text => write_value::<&str>(row, index, out)?,
            Kind::Time => write_value::<DateTime<Utc>>(row, index, out)?,
            Kind::Uuid => write_value::<Uuid>(row, index, out)?,
            Kind::Uuids => write_value::<Vec<Uuid>>(row, index, out)?,
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_value<'r, T>(row: &'r PgRow, index: usize, out: &mut Vec<u8>) -> anyhow::Result<()>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + Serialize,
{
    // The column's type was determined when the statement was prepared.
    let value: Option<T> = row.try_get_unchecked(index)?;
    serde_json::to_writer(out, &value)?;
    Ok(())
}
