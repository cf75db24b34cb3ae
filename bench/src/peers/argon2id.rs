//! One password after the other is verified, and nothing else: what a login cannot do without.

use std::time::Duration;

use anyhow::Context as _;
use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use rustix::time::{ClockId, clock_gettime};

/// As in `functions/src/password.rs`: OWASP's parameters for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Everybody's.
pub const PASSWORD: &str = "correct horse battery";

fn argon2() -> anyhow::Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    Ok(Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params))
}

/// The hash of [`PASSWORD`], as the database holds it.
pub fn hash() -> anyhow::Result<String> {
    let hash = argon2()?.hash_password(PASSWORD.as_bytes());
    Ok(hash.map_err(|error| anyhow::anyhow!("argon2: {error}"))?.to_string())
}

/// Verifies `times` passwords; how much CPU one took.
pub fn verify(times: u32) -> anyhow::Result<Duration> {
    let text = hash()?;
    let parsed = PasswordHash::new(&text).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
    let argon2 = argon2()?;
    let once = || {
        let is_right = argon2.verify_password(PASSWORD.as_bytes(), &parsed);
        is_right.map_err(|error| anyhow::anyhow!("argon2: {error}"))
    };
    // The first one also finds its memory.
    once()?;
    let before = cpu()?;
    (0..times).try_for_each(|_| once())?;
    Ok((cpu()? - before) / times)
}

fn cpu() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).ok().context("a clock that goes backwards")
}
