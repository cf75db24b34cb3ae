//! Tables of what the HTTP functions and the archive cost, each with its target.

use crate::{
    results::{Compared, Grown, LoggedIn, Results},
    scenarios::{Archived, Quantiles},
};

/// A login is its password and next to nothing else.
const PASSWORD_SHARE: f64 = 0.95;
/// A page, beside a handler that only runs its statements.
const TIMES_BARE: f64 = 3.0;
/// A page of a big database, beside a nearly empty one's.
const TIMES_EMPTY: f64 = 2.0;
/// Events archived a second.
const ARCHIVED: f64 = 10_000.0;

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

fn login_table(login: &LoggedIn) -> String {
    let each = login.logins.cpu_each();
    let rest = login.without_password.cpu_each();
    let share = 1.0 - rest / each;
    let Quantiles { p50, p99, .. } = login.logins.latency;
    format!(
        "\n### A login, beside one whose password costs nothing\n\n\
         | CPU of a login, µs | with the least argon2id (8 KiB, 1 pass), µs | share of argon2id (19 MiB, 2 passes) | target | met | p50, ms | p99, ms |\n\
         |--:|--:|--:|--:|---|--:|--:|\n\
         | {each:.0} | {rest:.0} | {:.1}% | ≥ {:.0}% | {} | {:.1} | {:.1} |\n",
        share * 100.0,
        PASSWORD_SHARE * 100.0,
        met(share >= PASSWORD_SHARE),
        p50 / 1e3,
        p99 / 1e3,
    )
}

fn pages_table(rows: &[Compared]) -> String {
    let mut out =
        "\n### Pages, beside a handler that runs the same statements and nothing else\n\n\
         | page | statements | CPU, µs | bare, µs | ÷ bare | target | met | pages per CPU-s | p50, ms | p99, ms |\n\
         |---|--:|--:|--:|--:|--:|---|--:|--:|--:|\n"
            .to_owned();
    for Compared { page, statements, ours, bare } in rows {
        let (us, them) = (ours.cpu_each(), bare.cpu_each());
        out += &format!(
            "| {page} | {statements} | {us:.0} | {them:.0} | {:.2} | ≤ {TIMES_BARE} | {} | {:.0} | {:.2} | {:.2} |\n",
            us / them,
            met(us <= TIMES_BARE * them),
            1e6 / us,
            ours.latency.p50 / 1e3,
            ours.latency.p99 / 1e3,
        );
    }
    out
}

fn filled_table(rows: &[Grown]) -> String {
    let mut out =
        "\n### Pages of 100,000 rooms with 5 million messages, beside a nearly empty database\n\n\
         | page | p50 empty, µs | filled, µs | × | CPU with PostgreSQL's empty, µs | filled, µs | × | target | met |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|---|\n"
            .to_owned();
    for Grown { page, empty, filled } in rows {
        let time = filled.latency.p50 / empty.latency.p50;
        let cpu = filled.cpu_each_of_all() / empty.cpu_each_of_all();
        out += &format!(
            "| {page} | {:.0} | {:.0} | {time:.2} | {:.0} | {:.0} | {cpu:.2} | < {TIMES_EMPTY} | {} |\n",
            empty.latency.p50,
            filled.latency.p50,
            empty.cpu_each_of_all(),
            filled.cpu_each_of_all(),
            met(time.max(cpu) < TIMES_EMPTY),
        );
    }
    out
}

fn archive_table(archived: &Archived) -> String {
    let Archived { waiting, seconds, rate, lag } = archived;
    let speed = *waiting as f64 / seconds;
    let thirds = lag.len() / 3;
    let [first, last] = [&lag[..thirds], &lag[lag.len() - thirds..]].map(median);
    let most = lag.iter().max().copied().unwrap_or(0);
    // What comes during one batch waits for the next. Twice that, and it grows.
    let is_flat = last <= 2 * first.max((rate / 2.0) as u64);
    format!(
        "\n### Events from the stream into PostgreSQL\n\n\
         | what | measured | target | met |\n|---|--:|--:|---|\n\
         | {waiting} that waited, a second | {speed:.0} | ≥ {ARCHIVED:.0} | {} |\n\
         | waiting at {rate:.0}/s: first third, last third, most | {first}, {last}, {most} | flat | {} |\n",
        met(speed >= ARCHIVED),
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
    fn a_lag_that_grows_misses_its_target() {
        let archived = |lag| Archived { waiting: 300_000, seconds: 20.0, rate: 5_000.0, lag };
        let flat = archive_table(&archived((0..300).map(|n| 400 + n % 300).collect()));
        let growing = archive_table(&archived((0..300).map(|n| n * 100).collect()));
        assert!(!flat.contains("**no**"), "{flat}");
        assert!(growing.contains("**no**"), "{growing}");
    }
}
