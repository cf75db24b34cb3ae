//! Writes the tables of bench/README.md, between two marker comments, and the plots.

mod functions;
mod plot;

use std::fs;

use anyhow::Context as _;

use self::plot::{Group, bars, short};
use crate::{
    latency::Quantiles,
    results::{FanoutRow, HopLatencies, LoadedLatency, Results},
    scenarios::IdleRooms,
    servers::Kind,
};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const BEGIN: &str = "<!-- measured -->\n";
const END: &str = "<!-- /measured -->";

pub fn write(results: &Results) -> anyhow::Result<()> {
    let path = format!("{FOLDER}/README.md");
    let readme = fs::read_to_string(&path).context("bench/README.md")?;
    let (head, rest) =
        readme.split_once(BEGIN).context("bench/README.md does not contain the first marker")?;
    let (_, tail) =
        rest.split_once(END).context("bench/README.md does not contain the second marker")?;
    fs::write(&path, [head, BEGIN, &tables(results), END, tail].concat())?;
    write_plots(results)
}

fn write_plots(results: &Results) -> anyhow::Result<()> {
    let plots = format!("{FOLDER}/plots");
    fs::create_dir_all(&plots)?;
    for size in [100, 1_024] {
        let chart = fanout_chart(&results.fanout, size);
        fs::write(format!("{plots}/fanout-{size}.svg"), chart)?;
    }
    let idle = results.idle.iter();
    let idle =
        idle.map(|(kind, idle)| (kind.title(), idle.rss_bytes_per_socket / 1024.0)).collect();
    let group = Group { title: "10,000 joined sockets".into(), bars: idle };
    let chart = bars("Memory of an idle socket", "KiB of RSS", &[group], Kind::Gateway.title());
    fs::write(format!("{plots}/idle.svg"), chart)?;
    let groups = [20, 50, 80].map(|percent| Group {
        title: format!("{percent}% of its own maximum"),
        bars: results
            .loaded
            .iter()
            .filter(|loaded| loaded.percent == percent)
            .map(|loaded| (loaded.kind.title(), loaded.sample.delivery.p99 / 1_000.0))
            .collect(),
    });
    let title = "Delivery to a room of 1,000, p99 from when the message was due";
    fs::write(format!("{plots}/latency.svg"), bars(title, "ms", &groups, Kind::Gateway.title()))?;
    Ok(())
}

fn fanout_chart(rows: &[FanoutRow], size: usize) -> String {
    let groups = [1, 4, 32].map(|in_flight| Group {
        title: format!("{in_flight} in flight"),
        bars: rows
            .iter()
            .filter(|row| row.size == size && row.in_flight == in_flight)
            .map(|row| (row.kind.title(), row.sample.per_cpu_second()))
            .collect(),
    });
    let title = format!("One room of 1,000, {size} B");
    bars(&title, "deliveries per CPU-second", &groups, Kind::Gateway.title())
}

fn tables(results: &Results) -> String {
    let mut out = format!("Measured on {}.\n\n", results.machine);
    out += "### One room of 1,000\n\n![](plots/fanout-100.svg)\n\n![](plots/fanout-1024.svg)\n\n";
    out += &fanout_table(&results.fanout);
    out += "\n### 100 rooms of 10, one message in flight in each\n\n";
    out += &fanout_table(&results.rooms);
    out += "\n### Cost per delivery by room size and number of rooms\n\n";
    out += &fanout_table(&results.flat);
    out += "\n### Latency at a percentage of each server's own maximum (one room of 1,000, 4 in flight)\n\n\
            ![](plots/latency.svg)\n\n";
    out += &loaded_table(&results.loaded, |loaded| loaded.sample.delivery);
    out += "\n### One message at a time, compared with JetStream alone\n\n";
    out += &hops_table(results);
    out += "\n### Idle sockets\n\n![](plots/idle.svg)\n\n\
            | server | sockets | RSS per socket, KiB | CPU of one core |\n|---|--:|--:|--:|\n";
    for (kind, idle) in &results.idle {
        let kib = idle.rss_bytes_per_socket / 1024.0;
        let (name, sockets, cpu) = (kind.title(), idle.sockets, idle.cpu_percent);
        out += &format!("| {name} | {sockets} | {kib:.1} | {cpu:.1}% |\n");
    }
    if let Some(IdleRooms { sockets, rooms, rss_bytes_per_room }) = results.idle_rooms {
        let kib = rss_bytes_per_room / 1024.0;
        out += &format!(
            "\nAn idle room: {kib:.1} KiB of RSS ({sockets} sockets in {rooms} rooms, minus as many \
             in one).\n"
        );
    }
    out += "\n### Storms\n\n| server | storm | wall, s | CPU, s | replayed events |\n|---|---|--:|--:|--:|\n";
    let joins = results.join.iter().map(|(kind, rooms, storm)| {
        (*kind, format!("{} sockets join {rooms} room(s)", storm.sockets), storm)
    });
    let replay = results.replay.iter();
    let replay = replay.map(|storm| {
        (Kind::Gateway, format!("{} sockets rejoin, 200 missed", storm.sockets), storm)
    });
    for (kind, what, storm) in joins.chain(replay) {
        out += &format!(
            "| {} | {what} | {:.2} | {:.2} | {} |\n",
            kind.title(),
            storm.seconds,
            storm.cpu_seconds,
            storm.replayed
        );
    }
    out += "\n### Sends: 200 sockets, stored and acknowledged, both cores shared by all\n\n";
    out += &loaded_table(&results.send, |loaded| loaded.sample.acknowledgement);
    out + &functions::tables(results)
}

fn fanout_table(rows: &[FanoutRow]) -> String {
    let mut out = "| server | rooms × members | in flight | size, B | deliveries per CPU-s | ÷ socket.io \
                   | ÷ floor | deliveries/s | writes per delivery | bytes per delivery | p50, ms | p99, ms \
                   | p99.9, ms |\n\
                   |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for row in rows {
        let against = |kind: Kind| {
            let same = |other: &&FanoutRow| {
                other.kind == kind
                    && (other.rooms, other.members, other.in_flight, other.size)
                        == (row.rooms, row.members, row.in_flight, row.size)
            };
            let other = rows.iter().find(same).map(|other| other.sample.per_cpu_second());
            other.map_or("".into(), |other| format!("{:.2}", row.sample.per_cpu_second() / other))
        };
        let FanoutRow { kind, rooms, members, in_flight, size, sample } = row;
        // The kernel does not count `send`, which tokio uses.
        let writes = match kind {
            Kind::Socketioxide => "–".to_owned(),
            _ => format!("{:.3}", sample.writes_per_delivery()),
        };
        out += &format!(
            "| {} | {rooms} × {members} | {in_flight} | {size} | {} | {} | {} | {} | {writes} \
             | {:.0} | {:.2} | {:.2} | {:.2} |\n",
            kind.title(),
            short(sample.per_cpu_second()),
            against(Kind::SocketIo),
            against(Kind::Floor),
            short(sample.deliveries as f64 / sample.seconds),
            sample.bytes as f64 / sample.deliveries as f64,
            sample.delivery.p50 / 1e3,
            sample.delivery.p99 / 1e3,
            sample.delivery.p999 / 1e3,
        );
    }
    out
}

fn loaded_table(
    rows: &[LoadedLatency],
    quantiles_of: impl Fn(&LoadedLatency) -> Quantiles,
) -> String {
    let mut out = "| server | load | messages/s | p50, ms | p99, ms | p99.9, ms |\n|---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for row in rows {
        let quantiles = quantiles_of(row);
        out += &format!(
            "| {} | {}% | {:.0} | {:.2} | {:.2} | {:.2} |\n",
            row.kind.title(),
            row.percent,
            row.rate,
            quantiles.p50 / 1e3,
            quantiles.p99 / 1e3,
            quantiles.p999 / 1e3,
        );
    }
    out
}

fn hops_table(results: &Results) -> String {
    let mut out =
        "| what | messages/s | ours p50, µs | JetStream alone p50, µs | ÷ alone | a hop p50, µs \
                   | ÷ (alone + hop) | ours p99, µs | alone p99, µs | ÷ alone |\n\
                   |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    let acknowledged = results.acknowledgement.iter().map(|hops: &HopLatencies| {
        ("acknowledgement", hops, hops.ours.acknowledgement, hops.bare.acknowledgement)
    });
    let across = results
        .across
        .iter()
        .map(|hops| ("delivery across two gateways", hops, hops.ours.delivery, hops.bare.delivery));
    for (what, hops, ours, bare) in acknowledged.chain(across) {
        let hop = hops.hop.acknowledgement;
        out += &format!(
            "| {what} | {:.0} | {:.0} | {:.0} | {:.2} | {:.0} | {:.2} | {:.0} | {:.0} | {:.2} |\n",
            hops.rate,
            ours.p50,
            bare.p50,
            ours.p50 / bare.p50,
            hop.p50,
            ours.p50 / (bare.p50 + hop.p50),
            ours.p99,
            bare.p99,
            ours.p99 / bare.p99,
        );
    }
    out
}
