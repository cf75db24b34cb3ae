//! Metrics of functions and archive.

use crate::metric::definition::{Label, Metric, counter, gauge, histogram, label};

pub const STORE: &[Metric] = &[
    gauge("chat_database_connections", "Connections in the pool, by what they do.")
        .labels(&[Label { name: "state", values: &["idle", "used"] }])
        .watch("`used` stays at `chat_database_connections_max`"),
    gauge("chat_database_connections_max", "Size of the pool."),
    histogram(
        "chat_database_acquire_seconds",
        "Time that a statement waits for a connection of the pool.",
    )
    .watch("p99 is above 0.1: slow statements, or too few connections"),
    counter("chat_storage_failures_total", "Failed calls of the S3 storage.")
        .labels(&[label("operation")])
        .watch("it grows: uploads and downloads fail"),
    counter("chat_message_lookup_answers_total", "Answers to look-ups of gateways.")
        .labels(&[Label { name: "answer", values: &["sent", "not-sent", "unknown"] }])
        .watch("`unknown` grows: database or NATS is slow or away"),
];

pub const FUNCTIONS: &[Metric] = &[
    counter("chat_http_requests_total", "Answered requests.")
        .labels(&[label("method"), label("route"), label("status")])
        .watch("5xx"),
    histogram("chat_http_request_duration_seconds", "Time from a request to its answer.")
        .labels(&[label("method"), label("route"), label("status")])
        .watch("p99 is above 0.5, except for `/login` and `/user`"),
    counter("chat_http_responses_aborted_total", "Large answers that were not read to their end.")
        .labels(&[Label { name: "reason", values: &["stalled", "too slow", "failed"] }])
        .watch("it jumps: clients that do not read"),
    counter("chat_logins_throttled_total", "Logins delayed after wrong passwords.")
        .watch("it jumps: password guessing"),
    counter("chat_rate_limited_requests_total", "Sign-ups and new passwords over their limit.")
        .watch("it jumps: a flood"),
    counter(
        "chat_password_hashing_refused_total",
        "Requests refused because too many passwords of their share wait.",
    )
    .labels(&[Label { name: "share", values: &["login", "sign-up", "user"] }])
    .watch("it grows for `login`: add instances, or raise `ARGON2_CONCURRENCY`"),
    counter(
        "chat_refreshes_repeated_total",
        "Refresh tokens used again within 10 s, and answered alike.",
    )
    .watch("it grows: answers get lost in the network"),
    counter(
        "chat_searches_refused_total",
        "Searches refused because the user's other ones are running.",
    )
    .watch("it grows: a client does not cancel its last search before the next"),
];

pub const ARCHIVE: &[Metric] = &[
    gauge("chat_archive_lag_events", "Events that are not in the database yet.")
        .labels(&[label("stream")])
        .watch("it grows; history stays complete, from the stream, but gets slower"),
    counter("chat_archive_events_total", "Archived events."),
    counter("chat_archive_outbox_swept_total", "Outbox rows published by the archive instead of their request.")
        .watch("it grows: NATS is away, or functions die"),
    gauge("chat_outbox_rows", "Messages that are not published to NATS yet, counted up to 1,000.")
        .labels(&[Label { name: "kind", values: &["event", "revocation"] }])
        .watch("`event` grows: a stream is full, or NATS is away"),
    gauge("chat_outbox_oldest_seconds", "Age of the oldest message that is not published yet.")
        .labels(&[Label { name: "kind", values: &["event", "revocation"] }])
        .watch("`revocation` is above a minute: bans and logouts do not reach the gateways"),
    counter("chat_archive_dead_letters_total", "Events that can never be stored.")
        .labels(&[Label {
            name: "reason",
            values: &["no-room", "not-an-event", "no-target", "refused-by-database"],
        }])
        .watch(
            "above 0: a faulty or hostile gateway, or incompatible versions, see \
             [dead letters](../infra/README.md#dead-letters)",
        ),
    gauge("chat_stream_bytes", "Size of a stream.").labels(&[label("stream")]).watch(
        "above 70% of its limit archived events are purged early, with a log line; `the stream is full` at level \
         error: the archive is behind, or there are more rooms than the stream has space for",
    ),
    gauge("chat_stream_max_bytes", "Limit of a stream's size (`STREAM_MAX_BYTES`).")
        .labels(&[label("stream")]),
    counter("chat_archive_purged_rooms_total", "Purges of a room's archived events."),
    gauge("chat_database_behind", "1 while the database is behind what was archived.")
        .labels(&[label("stream")])
        .watch("above 0: an older backup, see [restoring](../infra/README.md#restoring)"),
    counter("chat_archive_reactions_dropped_total", "Reactions dropped because their message has 20 kinds.")
        .watch("it grows: a flood of reactions through several gateways"),
    counter("chat_archive_uploads_removed_total", "Uploads that were not completed within a day."),
    counter("chat_archive_rooms_removed_total", "Deleted rooms whose data is completely removed."),
];
