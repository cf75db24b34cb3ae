//! Tables about the HTTP functions and the archive, with targets.

use crate::{
    latency::Quantiles,
    results::{LoginCost, PageComparison, Results, SizeComparison},
    scenarios::ArchiveSpeed,
};

/// Minimum share of password hashing in the CPU time of a login.
const MIN_PASSWORD_SHARE: f64 = 0.95;
/// Maximum CPU time of a page, relative to a server that only runs its statements.
const MAX_TIMES_BARE: f64 = 3.0;
/// Cost of a page with a big database must be below this, relative to a small one.
const MAX_TIMES_SMALL: f64 = 2.0;
/// Minimum number of events archived per second.
const MIN_ARCHIVE_RATE: f64 = 10_000.0;

pub fn tables(results: &Results) -> String {
    let mut out = String::new();
    if let Some(login) = &results.login {
        out += &login_table(login);
    }
    if !results.pages.is_empty() {
        out += &pages_table(&results.pages);
    }
    if !results.filled.is_empty() {
        out += &filled_table(&results.filled);
    }
    if let Some(archived) = &results.archive {
        out += &archive_table(archived);
    }
    out
}

fn met(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "**no**" }
}

fn login_table(login: &LoginCost) -> String {
    let each = login.logins.cpu_each();
    let rest = login.without_password.cpu_each();
    let share = 1.0 - rest / each;
    let Quantiles { p50, p99, .. } = login.logins.latency;
    format!(
        "\n### Logins, with normal and with minimal password hashing\n\n\
         | CPU of a login, µs | with minimal argon2id (8 KiB, 1 pass), µs | share of argon2id (19 MiB, 2 passes) \
         | target | met | p50, ms | p99, ms |\n\
         |--:|--:|--:|--:|---|--:|--:|\n\
         | {each:.0} | {rest:.0} | {:.1}% | ≥ {:.0}% | {} | {:.1} | {:.1} |\n",
        share * 100.0,
        MIN_PASSWORD_SHARE * 100.0,
        met(share >= MIN_PASSWORD_SHARE),
        p50 / 1e3,
        p99 / 1e3,
    )
}

fn pages_table(rows: &[PageComparison]) -> String {
    let mut out =
        "\n### Pages, compared with a server that only runs the same statements\n\n\
         | page | statements | CPU, µs | bare, µs | ÷ bare | target | met | pages per CPU-s | p50, ms | p99, ms |\n\
         |---|--:|--:|--:|--:|--:|---|--:|--:|--:|\n"
            .to_owned();
    for PageComparison { page, statements, ours, bare } in rows {
        let (us, them) = (ours.cpu_each(), bare.cpu_each());
        out += &format!(
            "| {page} | {statements} | {us:.0} | {them:.0} | {:.2} | ≤ {MAX_TIMES_BARE} | {} | {:.0} | {:.2} \
             | {:.2} |\n",
            us / them,
            met(us <= MAX_TIMES_BARE * them),
            1e6 / us,
            ours.latency.p50 / 1e3,
            ours.latency.p99 / 1e3,
        );
    }
    out
}

fn filled_table(rows: &[SizeComparison]) -> String {
    let mut out =
        "\n### Pages with 100,000 rooms and 5 million messages, compared with a small database\n\n\
         | page | p50 small, µs | big, µs | × | CPU with PostgreSQL small, µs | big, µs | × | target | met |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|---|\n"
            .to_owned();
    for SizeComparison { page, empty, filled } in rows {
        let time = filled.latency.p50 / empty.latency.p50;
        let cpu = filled.cpu_each_of_all() / empty.cpu_each_of_all();
        out += &format!(
            "| {page} | {:.0} | {:.0} | {time:.2} | {:.0} | {:.0} | {cpu:.2} | < {MAX_TIMES_SMALL} | {} |\n",
            empty.latency.p50,
            filled.latency.p50,
            empty.cpu_each_of_all(),
            filled.cpu_each_of_all(),
            met(time.max(cpu) < MAX_TIMES_SMALL),
        );
    }
    out
}

fn archive_table(archived: &ArchiveSpeed) -> String {
    let ArchiveSpeed { waiting, seconds, rate, lag } = archived;
    let speed = *waiting as f64 / seconds;
    let thirds = lag.len() / 3;
    let [first, last] = [&lag[..thirds], &lag[lag.len() - thirds..]].map(median);
    let most = lag.iter().max().copied().unwrap_or(0);
    // Events that arrive during a batch wait for the next one. A lag that doubles is growing.
    let is_flat = last <= 2 * first.max((rate / 2.0) as u64);
    format!(
        "\n### Archiving events from the stream to PostgreSQL\n\n\
         | what | measured | target | met |\n|---|--:|--:|---|\n\
         | events per second, backlog of {waiting} | {speed:.0} | ≥ {MIN_ARCHIVE_RATE:.0} | {} |\n\
         | lag at {rate:.0}/s: first third, last third, maximum | {first}, {last}, {most} | flat | {} |\n",
        met(speed >= MIN_ARCHIVE_RATE),
        met(is_flat),
    )
}

fn median(lags: &[u64]) -> u64 {
    let mut sorted = lags.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_lag_misses_its_target() {
        let archived = |lag| ArchiveSpeed { waiting: 300_000, seconds: 20.0, rate: 5_000.0, lag };
        let flat = archive_table(&archived((0..300).map(|n| 400 + n % 300).collect()));
        let growing = archive_table(&archived((0..300).map(|n| n * 100).collect()));
        assert!(!flat.contains("**no**"), "{flat}");
        assert!(growing.contains("**no**"), "{growing}");
    }
}
