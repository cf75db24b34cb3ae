//! The sections that measure the HTTP functions and the archive.

use std::time::Duration;

use anyhow::Context as _;

use super::context::Suite;
use crate::{
    backend::{Backend, SMALL, log_in},
    postgres::DatabaseSize,
    process::pin_self,
    results::{LoginCost, PageComparison, SizeComparison},
    scenarios::{
        FILLED_PAGES, PAGES, RequestCost, archive, compare_with_bare, measure_logins, measure_page,
    },
    servers::{ALL, OTHERS},
};

/// Number of accounts that log in.
const ACCOUNTS: usize = 50;
const BIG: DatabaseSize =
    DatabaseSize { accounts: 50_000, rooms: 100_000, members: 500_000, messages: 5_000_000 };
/// Backlog of the archive in events.
const WAITING: usize = 300_000;
/// Events per second after the backlog, and for how long.
const RATE: f64 = 5_000.0;
const DURING: Duration = Duration::from_secs(30);

impl Suite<'_> {
    pub fn login(&mut self) -> anyhow::Result<()> {
        let mut backend = Backend::start(OTHERS, false, SMALL)?;
        let [logins, without_password] = measure_logins(&mut backend, ACCOUNTS, self.seconds)?;
        let (each, rest) = (logins.cpu_each(), without_password.cpu_each());
        eprintln!("  login: {each:.0} µs of CPU, {rest:.0} µs without password hashing");
        self.results.login = Some(LoginCost { logins, without_password });
        Ok(())
    }

    pub fn pages(&mut self) -> anyhow::Result<()> {
        self.results.pages.clear();
        let mut backend = Backend::start(OTHERS, false, SMALL)?;
        for page in PAGES {
            let compared = compare_with_bare(&mut backend, page, self.seconds);
            let (ours, bare, statements) = compared.with_context(|| page.path.to_owned())?;
            let (us, them) = (ours.cpu_each(), bare.cpu_each());
            eprintln!("  {:12} {us:.0} µs of CPU, bare {them:.0} µs", page.title);
            let page = page.title.to_owned();
            self.results.pages.push(PageComparison { page, statements, ours, bare });
        }
        Ok(())
    }

    pub fn filled(&mut self) -> anyhow::Result<()> {
        self.results.filled.clear();
        let mut empty = self.measure_pages(SMALL)?.into_iter();
        for (page, filled) in self.measure_pages(BIG)? {
            let (_, empty) = empty.next().context("a page was measured with one database only")?;
            eprintln!("  {page:40} p50 {:.0} → {:.0} µs", empty.latency.p50, filled.latency.p50);
            self.results.filled.push(SizeComparison { page, empty, filled });
        }
        Ok(())
    }

    /// Results by page title.
    fn measure_pages(&self, size: DatabaseSize) -> anyhow::Result<Vec<(String, RequestCost)>> {
        eprintln!("  {size:?}");
        let mut backend = Backend::start(OTHERS, false, size)?;
        let functions = backend.functions()?;
        let token = log_in(functions, "user1")?;
        let costs = FILLED_PAGES.iter().map(|page| {
            let cost = measure_page(&backend, functions, &token, *page, self.seconds);
            Ok((page.title.to_owned(), cost.with_context(|| page.path.to_owned())?))
        });
        costs.collect()
    }

    pub fn archive(&mut self) -> anyhow::Result<()> {
        pin_self(ALL)?;
        let archived = archive(WAITING, RATE, DURING)?;
        let rate = archived.waiting as f64 / archived.seconds;
        let most = archived.lag.iter().max().copied().unwrap_or(0);
        eprintln!("  {rate:.0} events/s; maximum lag {most} at {RATE:.0}/s");
        self.results.archive = Some(archived);
        pin_self(OTHERS)
    }
}
