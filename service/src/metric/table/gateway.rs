//! Metrics of gateways.

use crate::metric::definition::{Label, Metric, counter, gauge, histogram, label};

const ANSWERS: &[Label] = &[Label { name: "answer", values: &["sent", "not-sent", "unknown"] }];

pub const GATEWAY: &[Metric] = &[
    gauge("chat_gateway_sockets", "Open sockets.")
        .labels(&[label("transport")])
        .watch("all are on one gateway"),
    gauge("chat_gateway_rooms", "Rooms with a socket here, or with one until half a minute ago."),
    counter("chat_gateway_events_total", "Events from clients.").labels(&[label("event")]),
    counter("chat_gateway_events_out_total", "Events to rooms and sockets, each counted once.")
        .labels(&[label("event")]),
    counter("chat_gateway_deliveries_total", "Events times the sockets that they were sent to."),
    counter("chat_gateway_writes_total", "Calls of write(2) for sockets."),
    counter("chat_gateway_received_bytes_total", "Bytes of packets from clients."),
    counter("chat_gateway_sent_bytes_total", "Bytes of packets to clients."),
    histogram("chat_gateway_store_seconds", "Time from an event to its acknowledgement by JetStream.")
        .watch("p99 is above 0.25"),
    gauge("chat_gateway_outgoing_events", "Events that wait for NATS.").watch("it grows"),
    gauge("chat_gateway_inbox_commands", "Commands that wait for a worker thread.")
        .labels(&[label("worker")])
        .watch("it grows: add a gateway"),
    counter("chat_gateway_message_lookups_total", "Look-ups of messages with an old id before they are stored.")
        .labels(ANSWERS)
        .watch(
            "`unknown` grows: no process answers, such messages are refused. `not-sent` is close to all messages: \
             clients do not generate UUIDv7, or their clocks are wrong",
        ),
    gauge("chat_gateway_sockets_behind", "Sockets that cannot be written to now.")
        .watch("many at once: the network in front"),
    counter("chat_gateway_lags_total", "Events `lag`: a socket has to read what it missed by HTTP.").watch(
        "it jumps: slow clients, or a gateway without NATS for longer than `REPLAY_WINDOW_SECONDS`",
    ),
    gauge("chat_gateway_memory_used_bytes", "Bytes buffered for sockets and rooms.")
        .watch("it stays above three quarters of the budget"),
    gauge("chat_gateway_memory_budget_bytes", "`MEMORY_BUDGET_BYTES`."),
    counter("chat_gateway_memory_refusals_total", "Refused reservations of memory, for long replays or live traffic.")
        .labels(&[Label { name: "purpose", values: &["replay", "live"] }])
        .watch("`live` grows: more memory, or more gateways"),
    counter("chat_gateway_replays_total", "Joins with `after`, by whether the missed events were still there.")
        .labels(&[Label { name: "recovered", values: &["true", "false"] }])
        .watch("`false` grows: clients are away for long"),
    counter("chat_gateway_failures_total", "Failed parts of the gateway; the process exits.")
        .watch("above 0: a bug; the log names the part"),
    counter("chat_gateway_gaps_total", "Gaps in what core NATS delivered.")
        .watch("it grows: NATS is overloaded"),
    counter("chat_gateway_gap_events_total", "Events read from the stream to fill gaps."),
    counter(
        "chat_gateway_mailbox_overflows_total",
        "Times that a room's queue was full: deliveries were dropped, and read from the stream later.",
    )
    .watch("it grows: a room is busier than a worker can be"),
    counter("chat_gateway_refusals_total", "Refused events.")
        .labels(&[label("code")])
        .watch("a code jumps: a faulty client, or an attack"),
    counter("chat_gateway_handshakes_refused_total", "Refused handshakes and polling requests.")
        .labels(&[label("reason")])
        .watch("`Session ID unknown` grows: [affinity](../infra/README.md#scaling) is missing"),
    counter("chat_gateway_violations_total", "Packets and frames that violate a protocol.")
        .watch("it jumps: a faulty client, or an attack"),
    counter("chat_gateway_sockets_ended_total", "Closed sockets, by the reason.")
        .labels(&[label("reason")])
        .watch("a reason jumps"),
    counter(
        "chat_gateway_access_proofs_demanded_total",
        "Times that all sockets had to prove their access again, see `REVOCATIONS_UNSEEN_SECONDS`.",
    )
    .watch("above 0: NATS was away for long, or lost the bucket `revoked`"),
    gauge("chat_gateway_draining", "1 while the gateway drains."),
    gauge("chat_gateway_drain_seconds", "Time since the drain began; 0 before.")
        .watch("it exceeds `DRAIN_SECONDS`"),
    counter("chat_gateway_migrations_total", "Sockets that were asked to migrate."),
];
