//! The addresses of a deployment as browsers see them.

use std::time::Duration;

use service::env::{Env, List};
use store::config::storage_origin_from_env;
use url::Url;

const STALL_SECONDS: u64 = 60;
const RESPONSE_SECONDS: u64 = 30 * 60;
const PACE_SECONDS: std::ops::RangeInclusive<u64> = 1..=24 * 3600;

/// Time limits for clients that read a large response body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// `RESPONSE_STALL_SECONDS`: for the next piece. The kernel of a slow client accepts some hundred KiB at once, and
    /// then nothing until the client has read them.
    pub stall: Duration,
    /// `RESPONSE_SECONDS`: for the whole body.
    pub total: Duration,
}

impl Pace {
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let seconds = |value| Duration::from_secs(value);
        Self {
            stall: seconds(env.within("RESPONSE_STALL_SECONDS", PACE_SECONDS, STALL_SECONDS)),
            total: seconds(env.within("RESPONSE_SECONDS", PACE_SECONDS, RESPONSE_SECONDS)),
        }
    }
}

/// Everything that pages and documents need. Has no secrets.
#[derive(Debug, Clone)]
pub struct Site {
    /// `PUBLIC_URL`: the URL of the functions for browsers. It may have a path, such as the stage of API Gateway.
    pub public_url: Url,
    /// `GATEWAY_URL`: the URL of the gateways for browsers. `PUBLIC_URL` by default.
    pub gateway_url: Url,
    /// `ALLOWED_ORIGINS`: pages of these origins may call the functions and upload files.
    pub origins: Vec<String>,
    /// The origin that browsers upload to. `None` if the function serves no page.
    pub storage_origin: Option<String>,
    pub pace: Pace,
}

impl Site {
    /// Reads all variables. Errors are collected in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let public_url = env
            .required_http_url("PUBLIC_URL", "the URL for browsers, such as https://chat.example");
        let gateway_url = env.http_url("GATEWAY_URL").or_else(|| public_url.clone());
        let own = public_url.as_ref().map(|url| url.origin().ascii_serialization());
        let origins = env.or("ALLOWED_ORIGINS", List(own.into_iter().collect())).0;
        let storage_origin = storage_origin_from_env(env);
        Some(Self {
            origins,
            storage_origin,
            pace: Pace::from_env(env),
            public_url: public_url?,
            gateway_url: gateway_url?,
        })
    }

    /// The path of `PUBLIC_URL` without a slash at its end: the beginning of the path in every address that browsers
    /// use. Usually empty.
    pub fn base_path(&self) -> &str {
        self.public_url.path().trim_end_matches('/')
    }
}
