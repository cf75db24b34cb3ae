//! The public keys that verify tokens. They are fetched at start and regularly after that.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use protocol::token::{Access, TokenError, Verifier};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::KeySource;

/// How often the keys are fetched: a rotated key is known within this time, even before a token signed by it
/// arrives.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// Rate limit of fetches for unknown keys, so that tokens with invented key ids do not cause a request each. A
/// token with an unknown key waits at most this long for the next fetch.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_secs(2);
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// Retry interval until the first keys are known: the functions may start later than the gateway.
const RETRY_FIRST_EVERY: Duration = Duration::from_millis(250);
/// How long a key stays valid after it was last in a fetched document: longer than any token lives. During a
/// deployment, processes with the old and with the new key answer in turn.
const KEEP_UNSEEN: Duration = Duration::from_secs(3600);

/// The keys. Clones share them.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    source: KeySource,
    http: reqwest::Client,
    verifier: RwLock<Option<Arc<Verifier>>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    keys: HashMap<String, (Jwk, Instant)>,
    fetched: Option<Instant>,
}

impl Keys {
    /// Starts fetching. Keys given inline are available at once.
    pub async fn start(source: KeySource, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(FETCH_WITHIN).build()?;
        let keys = Self(Arc::new(Inner {
            source,
            http,
            verifier: RwLock::default(),
            seen: Mutex::default(),
        }));
        match &keys.0.source {
            KeySource::Inline(_) => keys.fetch(&mut *keys.0.seen.lock().await).await?,
            KeySource::Url(_) => {
                tokio::spawn(keys.clone().keep_fresh(shutdown));
            }
        }
        Ok(keys)
    }

    async fn keep_fresh(self, shutdown: CancellationToken) {
        loop {
            let fetched = self.fetch(&mut *self.0.seen.lock().await).await;
            if let Err(error) = &fetched {
                tracing::warn!(%error, "the public keys cannot be fetched");
            }
            let pause = if self.ready() { REFRESH_EVERY } else { RETRY_FIRST_EVERY };
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Whether any keys are known.
    pub fn ready(&self) -> bool {
        self.verifier().is_some()
    }

    /// A verifier with the known keys; none before the first fetch.
    pub fn verifier(&self) -> Option<Arc<Verifier>> {
        self.0.verifier.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Verifies an access token, after another fetch if its key is unknown.
    pub async fn access(&self, token: &str) -> Result<Access, TokenError> {
        match self.verify(token) {
            Err(TokenError::UnknownKey) => {
                self.fetch_again().await;
                self.verify(token)
            }
            result => result,
        }
    }

    /// Fetches the keys because a token's key is unknown. Concurrent callers share one fetch, and fetches are
    /// rate-limited. A fetch that began before the call is not shared, because its result may not contain a
    /// newer key.
    pub async fn fetch_again(&self) {
        if matches!(self.0.source, KeySource::Inline(_)) {
            return;
        }
        let asked = Instant::now();
        loop {
            let mut seen = self.0.seen.lock().await;
            let early = match seen.fetched {
                Some(at) if at >= asked => return,
                Some(at) => REFRESH_AT_MOST_EVERY.saturating_sub(at.elapsed()),
                None => Duration::ZERO,
            };
            if early.is_zero() {
                if let Err(error) = self.fetch(&mut seen).await {
                    tracing::warn!(%error, "the public keys cannot be fetched");
                }
                return;
            }
            drop(seen);
            tokio::time::sleep(early).await;
        }
    }

    /// Verifies an access token with the known keys.
    pub fn verify(&self, token: &str) -> Result<Access, TokenError> {
        self.verifier().ok_or(TokenError::UnknownKey)?.access(token)
    }

    async fn fetch(&self, seen: &mut Seen) -> anyhow::Result<()> {
        seen.fetched = Some(Instant::now());
        let set: JwkSet = match &self.0.source {
            KeySource::Inline(text) => serde_json::from_str(text)?,
            KeySource::Url(url) => {
                self.0.http.get(url).send().await?.error_for_status()?.json().await?
            }
        };
        let now = Instant::now();
        for jwk in set.keys {
            if let Some(id) = jwk.common.key_id.clone() {
                seen.keys.insert(id, (jwk, now));
            }
        }
        seen.keys.retain(|_, (_, at)| now.duration_since(*at) < KEEP_UNSEEN);
        let keys = seen.keys.values().map(|(jwk, _)| jwk.clone()).collect();
        let verifier = Arc::new(Verifier::new(&JwkSet { keys }));
        *self.0.verifier.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(verifier);
        Ok(())
    }
}
