//! Metrics of all processes, and of those that serve HTTP.

use crate::metric::definition::{Label, Metric, counter, gauge, label};

pub const ALL: &[Metric] = &[
    gauge(
        "chat_build_info",
        "Always 1; the labels name the version and the commit of the program.",
    )
    .labels(&[label("version"), label("commit")])
    .watch("versions differ for longer than a roll-out takes"),
    gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.")
        .watch("it changes without a roll-out: the process restarts"),
    counter("process_cpu_seconds_total", "Time that the process has used the processor."),
    gauge("process_resident_memory_bytes", "Resident memory of the process.")
        .watch("it comes near the container's limit"),
    gauge("process_open_fds", "Open file descriptors; each socket is one."),
    gauge("process_max_fds", "Limit of open file descriptors.")
        .watch("`process_open_fds` is above 80% of it"),
    gauge("chat_nats_connections", "Connections to NATS that are up, and those that are lost.")
        .labels(&[Label { name: "state", values: &["up", "down"] }])
        .watch("`down` is above 0"),
    counter("chat_nats_disconnects_total", "Times that a connection to NATS was lost.")
        .watch("more than once at a restart of NATS"),
    counter("chat_nats_slow_consumer_total", "Times that NATS dropped messages not read in time.")
        .watch("above 0"),
    gauge("chat_stream_behind", "1 while a stream is behind its high-water mark.")
        .labels(&[label("stream")])
        .watch("above 0: NATS lost data, see [restoring](../infra/README.md#restoring)"),
    counter(
        "chat_publish_refused_total",
        "Events over the budget of a user or room, and rooms over `LIMIT_ROOMS_PER_HOUR`.",
    )
    .labels(&[label("code")])
    .watch("it jumps: a flood, or a limit is too low"),
    counter("chat_trace_spans_total", "Spans given to the exporter of traces.")
        .labels(&[Label { name: "outcome", values: &["exported", "failed"] }])
        .watch("`failed` grows: the receiver of traces is away, see the log"),
];

pub const HTTP: &[Metric] = &[
    gauge("chat_ready", "1 while `/readyz` answers 200.")
        .labels(&[Label { name: "service", values: &["functions", "gateway"] }])
        .watch("0 for minutes: the process gets no traffic"),
    gauge("chat_ready_check", "1 for each check of `/readyz` that holds.")
        .labels(&[label("service"), label("check")])
        .watch("0: this is the reason"),
    counter("chat_http_connections_refused_total", "Connections over `LIMIT_CONNECTIONS_PER_ADDRESS`, without proxies.")
        .watch("it jumps: an attack, or a big office behind one address"),
    counter("chat_http_requests_refused_total", "Requests over `LIMIT_CONNECTIONS_PER_ADDRESS`, behind proxies.")
        .watch("it jumps: an attack, or `TRUSTED_PROXY_HOPS` is too low"),
    counter(
        "chat_http_connections_timed_out_total",
        "Connections closed because no request came within 10 s, or the client read no answer for 15 min.",
    )
    .watch("it jumps"),
    counter("chat_http_connections_broken_total", "Connections that failed, for instance by endless headers.")
        .watch("it jumps"),
];

pub const LOCAL: &[Metric] = &[counter(
    "chat_nats_server_restarts_total",
    "Times that `local` started its nats-server again after an exit.",
)
.watch("it grows: the log of nats-server has the reason")];
