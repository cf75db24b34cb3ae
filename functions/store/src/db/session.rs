//! Time limits that PostgreSQL enforces for a connection.

use std::time::Duration;

/// How often PostgreSQL checks during a statement that its client is still connected.
const CLIENT_CHECKED_EVERY: Duration = Duration::from_millis(500);

/// Sets the limits, until the end of the transaction if `is_local`. A setting that the server's version does not have
/// is skipped.
fn set(statement: Duration, is_local: bool) -> String {
    let [statement, idle, check] =
        [statement, statement * 2, CLIENT_CHECKED_EVERY].map(|setting| setting.as_millis());
    format!(
        "SELECT set_config(s.name, w.value, {is_local}) FROM pg_settings s JOIN (VALUES
           ('statement_timeout', '{statement}ms'),
           ('idle_in_transaction_session_timeout', '{idle}ms'),
           ('client_connection_check_interval', '{check}ms')
         ) w (name, value) ON w.name = s.name"
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
