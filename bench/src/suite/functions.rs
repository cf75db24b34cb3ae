//! The sections that measure the HTTP functions and the archive.

use std::time::Duration;

use anyhow::Context as _;

use super::Suite;
use crate::{
    backend::{Backend, NEARLY_EMPTY, log_in},
    postgres::Filling,
    process::pin_self,
    results::{Compared, Grown, LoggedIn},
    scenarios::{FILLED_PAGES, PAGES, alone, archive, beside_bare, logins},
    servers::{ALL, OTHERS},
};

/// Accounts that log in, one after the other.
const ACCOUNTS: usize = 50;
/// The big database: 100,000 rooms and 5 million messages.
const FILLED: Filling =
    Filling { accounts: 50_000, rooms: 100_000, members: 500_000, messages: 5_000_000 };
/// What waits for the archive, and what then comes a second.
const WAITING: usize = 300_000;
const RATE: f64 = 5_000.0;
const DURING: Duration = Duration::from_secs(30);

impl Suite<'_> {
    pub fn login(&mut self) -> anyhow::Result<()> {
        let mut backend = Backend::start(OTHERS, false, NEARLY_EMPTY)?;
        let [logins, without_password] = logins(&mut backend, ACCOUNTS, self.seconds)?;
        let (each, rest) = (logins.cpu_each(), without_password.cpu_each());
        eprintln!("  a login {each:.0} µs of CPU, all but its password {rest:.0} µs");
        self.results.login = Some(LoggedIn { logins, without_password });
        Ok(())
    }

    pub fn pages(&mut self) -> anyhow::Result<()> {
        self.results.pages.clear();
        let mut backend = Backend::start(OTHERS, false, NEARLY_EMPTY)?;
        for page in PAGES {
            let compared = beside_bare(&mut backend, page, self.seconds);
            let (ours, bare, statements) = compared.with_context(|| page.path.to_owned())?;
            let (us, them) = (ours.cpu_each(), bare.cpu_each());
            eprintln!("  {:12} {us:.0} µs of CPU, bare {them:.0} µs", page.title);
            let page = page.title.to_owned();
            self.results.pages.push(Compared { page, statements, ours, bare });
        }
        Ok(())
    }

    pub fn filled(&mut self) -> anyhow::Result<()> {
        self.results.filled.clear();
        let mut empty = self.grown(NEARLY_EMPTY)?.into_iter();
        for (page, filled) in self.grown(FILLED)? {
            let (_, empty) = empty.next().context("the same pages twice")?;
            eprintln!("  {page:40} p50 {:.0} → {:.0} µs", empty.latency.p50, filled.latency.p50);
            self.results.filled.push(Grown { page, empty, filled });
        }
        Ok(())
    }

    fn grown(&self, filling: Filling) -> anyhow::Result<Vec<(String, crate::scenarios::Asked)>> {
        eprintln!("  {filling:?}");
        let mut backend = Backend::start(OTHERS, false, filling)?;
        let functions = backend.functions()?;
        let token = log_in(functions, "user1")?;
        let asked = FILLED_PAGES.iter().map(|page| {
            let asked = alone(&backend, functions, &token, *page, self.seconds);
            Ok((page.title.to_owned(), asked.with_context(|| page.path.to_owned())?))
        });
        asked.collect()
    }

    pub fn archive(&mut self) -> anyhow::Result<()> {
        pin_self(ALL)?;
        let archived = archive(WAITING, RATE, DURING)?;
        let rate = archived.waiting as f64 / archived.seconds;
        let most = archived.lag.iter().max().copied().unwrap_or(0);
        eprintln!("  {rate:.0} events/s; at most {most} wait at {RATE:.0}/s");
        self.results.archive = Some(archived);
        pin_self(OTHERS)
    }
}
