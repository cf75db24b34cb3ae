//! Runs one query expression on either database. Macros, because the expression must be compiled once per driver:
//! sqlx's query types differ between them, and no trait covers both.

/// Runs a query on a [`Database`](crate::db::Database): `on_db!(db, e => sqlx::query(…).fetch_all(e))`. If the future
/// is dropped, the statement is cancelled ([`HeldConnection`](crate::db::HeldConnection)).
#[macro_export]
macro_rules! on_db {
    ($database:expr, $executor:ident => $query:expr) => {
        match $database {
            $crate::db::Database::Postgres(pool) => {
                $crate::on_held!($crate::db::HeldConnection::postgres(pool), $executor => $query)
            }
            $crate::db::Database::Sqlite(pool) => {
                $crate::on_held!($crate::db::HeldConnection::sqlite(pool), $executor => $query)
            }
        }
    };
}

/// Runs a query on a [`HeldConnection`](crate::db::HeldConnection). Part of [`on_db`]; used directly where the
/// statement differs between the databases.
#[macro_export]
macro_rules! on_held {
    ($held:expr, $executor:ident => $query:expr) => {
        match $held.await {
            Ok(mut held) => {
                let $executor = held.start();
                let done = $query.await;
                match held.end(done.is_ok()) {
                    Some(ending) => {
                        let ended = ending.await;
                        done.and_then(|done| ended.map(|()| done))
                    }
                    None => done,
                }
            }
            Err(error) => Err(error),
        }
    };
}

/// Runs a query in a [`Tx`](crate::db::Tx): `on_tx!(tx, e => sqlx::query(…).execute(e))`.
#[macro_export]
macro_rules! on_tx {
    ($transaction:expr, $executor:ident => $query:expr) => {{
        // The type lets a `Transaction` coerce to its `Tx`.
        let tx: &mut $crate::db::Tx = $transaction;
        match tx {
            $crate::db::Tx::Postgres(transaction) => {
                transaction.start();
                let $executor = &mut **transaction;
                let done = $query.await;
                transaction.end();
                done.map($crate::db::Affected::affected)
            }
            $crate::db::Tx::Sqlite(transaction) => {
                transaction.start();
                let $executor = &mut **transaction;
                let done = $query.await;
                transaction.end();
                done.map($crate::db::Affected::affected)
            }
        }
    }};
}

/// Unifies the results of the two drivers: rows stay rows, a query result becomes the number of affected rows.
pub trait Affected {
    type Same;
    fn affected(self) -> Self::Same;
}

impl Affected for sqlx::postgres::PgQueryResult {
    type Same = u64;
    fn affected(self) -> u64 {
        self.rows_affected()
    }
}

impl Affected for sqlx::sqlite::SqliteQueryResult {
    type Same = u64;
    fn affected(self) -> u64 {
        self.rows_affected()
    }
}

impl<T> Affected for Option<T> {
    type Same = Self;
    fn affected(self) -> Self {
        self
    }
}

impl<T> Affected for Vec<T> {
    type Same = Self;
    fn affected(self) -> Self {
        self
    }
}
