//! Classifies the error codes of the two databases.

/// A unique constraint whose violation callers report with a specific error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueConstraint {
    AccountName,
    RoomName,
}

impl UniqueConstraint {
    /// Whether the statement failed because of this constraint and no other.
    pub fn is_violated_by(self, error: &sqlx::Error) -> bool {
        // SQLite reports the column and not the constraint's name.
        let constraints: &[(&str, &str)] = match self {
            Self::AccountName => &[("account_name_key", "account.name")],
            Self::RoomName => {
                &[("room_name_key", "room.name"), ("room_folded_name_key", "room.folded_name")]
            }
        };
        error.as_database_error().filter(|error| error.is_unique_violation()).is_some_and(|error| {
            constraints.iter().any(|(name, column)| match error.constraint() {
                Some(constraint) => constraint == *name,
                None => error.message().ends_with(&format!(": {column}")),
            })
        })
    }
}

/// Whether the statement exceeded its timeout.
pub fn is_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // PostgreSQL's query_canceled; SQLite's INTERRUPT.
    code.is_some_and(|code| code == "57014" || code == "9")
}

/// Whether the database cannot be reached or is in a temporary condition, so that a retry may succeed.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        // A proxy accepts and closes connections while its database is down.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_temporary(&code)),
        _ => false,
    }
}

/// Whether the database rejects the statement's values, so that a retry would fail too: a date out of range, text that
/// cannot be stored, a violated constraint. A foreign-key violation is not included: the referenced row was deleted
/// meanwhile, and a retry handles that.
pub fn is_refused(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) if error.is_foreign_key_violation() => false,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // PostgreSQL's codes have five characters. Classes 22, 23 and 54: data, constraints, limits.
            if code.len() == 5 {
                return matches!(code.get(..2), Some("22" | "23" | "54"));
            }
            // SQLite's TOOBIG, CONSTRAINT and MISMATCH; the higher bytes hold an extended code.
            code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
        }),
        _ => false,
    }
}

/// Whether an error code means a temporary condition.
fn is_temporary(code: &str) -> bool {
    // PostgreSQL's codes have five characters. SQLite's are numbers whose low byte is the error.
    if let Ok(number) = code.parse::<u32>()
        && code.len() < 5
    {
        const BUSY: u32 = 5;
        const LOCKED: u32 = 6;
        const FULL: u32 = 13;
        return matches!(number & 0xff, BUSY | LOCKED | FULL);
    }
    // Classes: connection, rollback (deadlock), resources (disk full), object or database not available, operator
    // intervention. 25006 is a read-only replica, seen during a failover.
    matches!(code.get(..2), Some("08" | "40" | "53" | "55" | "57")) || code == "25006"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Database, on_tx};

    #[tokio::test]
    async fn a_unique_violation_is_recognised_by_its_constraint() {
        let database = Database::connect("sqlite::memory:").await.unwrap();
        let mut tx = database.begin().await.unwrap();
        for table in ["account", "room"] {
            let create = format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT UNIQUE)");
            on_tx!(&mut tx, e => sqlx::query(sqlx::AssertSqlSafe(create)).execute(e)).unwrap();
        }
        let insert = "INSERT INTO account (id, name) VALUES ($1, $2)";
        on_tx!(&mut tx, e => sqlx::query(insert).bind(1).bind("ada").execute(e)).unwrap();
        for (id, name, is_name) in [(2, "ada", true), (1, "bob", false)] {
            let inserted = on_tx!(&mut tx, e => sqlx::query(insert).bind(id).bind(name).execute(e));
            let error = inserted.unwrap_err();
            assert_eq!(UniqueConstraint::AccountName.is_violated_by(&error), is_name, "{error}");
            assert!(!UniqueConstraint::RoomName.is_violated_by(&error), "{error}");
        }
    }

    #[test]
    fn temporary_errors_are_distinguished_from_permanent_ones() {
        for code in [
            "08006", "40P01", "53100", "53300", "55000", "57014", "57P03", "25006", "5", "6", "13",
            "517",
        ] {
            assert!(is_temporary(code), "{code}");
        }
        // PostgreSQL: constraint, syntax, encoding, password. SQLite: constraint, corruption, read-only.
        for code in ["23505", "42601", "22021", "28P01", "25001", "19", "11", "8", "2067", ""] {
            assert!(!is_temporary(code), "{code}");
        }
    }
}
