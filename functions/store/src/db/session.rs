//! Time limits that PostgreSQL enforces for a connection.

use std::time::Duration;

/// How often PostgreSQL checks during a statement that its client is still connected.
const CLIENT_CHECKED_EVERY: Duration = Duration::from_millis(500);

/// Names and values of the settings.
fn settings(statement: Duration) -> [(&'static str, u128); 3] {
    [
        ("statement_timeout", statement.as_millis()),
        ("idle_in_transaction_session_timeout", (statement * 2).as_millis()),
        ("client_connection_check_interval", CLIENT_CHECKED_EVERY.as_millis()),
    ]
}

/// Sets the limits, until the end of the transaction if `is_local`. A setting that the server's version does not have
/// is skipped.
fn set(statement: Duration, is_local: bool) -> String {
    let values = settings(statement).map(|(name, millis)| format!("('{name}', '{millis}ms')"));
    format!(
        "SELECT set_config(s.name, w.value, {is_local}) FROM pg_settings s JOIN (VALUES {}) w (name, value) \
         ON w.name = s.name",
        values.join(", ")
    )
}

/// Sets the limits for a connection.
pub fn limits(statement: Duration) -> String {
    set(statement, false)
}

/// Begins a transaction with the limits, for a connection that is another one in the next transaction. Clients number
/// their prepared statements, so another client may have left one with the same name there.
pub fn begin_with_limits(statement: Option<Duration>) -> String {
    let begin = "BEGIN; DEALLOCATE ALL".to_owned();
    let limits = statement.map(|statement| set(statement, true));
    limits.map_or_else(|| begin.clone(), |limits| format!("{begin}; {limits}"))
}
