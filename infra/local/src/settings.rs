//! Settings of `local` that the operator may give in the environment.

use std::net::{Ipv4Addr, SocketAddr};

use service::env::{Env, List};
use url::Url;

pub struct Settings {
    /// `PUBLIC_URL`; by default the listening address.
    pub public_url: Url,
    /// `GATEWAY_URL`; by default `PUBLIC_URL`.
    pub gateway_url: Url,
    /// `ALLOWED_ORIGINS`, and always the origins of the pages that this process serves.
    pub allowed_origins: Vec<String>,
    /// `DRAIN_SECONDS`; 0 by default, because sockets have no other gateway to move to.
    pub drain_seconds: u64,
    /// URL of the listening address on this machine.
    pub functions_url: Url,
}

impl Settings {
    pub fn from_env(listen: SocketAddr) -> anyhow::Result<Self> {
        Ok(Env::of_process(|env| Self::read(env, listen))?)
    }

    pub fn read(env: &mut Env<'_>, listen: SocketAddr) -> Option<Self> {
        // An unspecified address such as 0.0.0.0 cannot be connected to.
        let reachable = match listen.ip() {
            ip if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
            _ => listen,
        };
        let functions_url = Url::parse(&format!("http://{reachable}")).ok()?;
        let public_url = env.http_url("PUBLIC_URL").unwrap_or_else(|| functions_url.clone());
        let gateway_url = env.http_url("GATEWAY_URL").unwrap_or_else(|| public_url.clone());
        let mut allowed_origins = env.or("ALLOWED_ORIGINS", List::default()).0;
        let own_origins = [
            public_url.origin().ascii_serialization(),
            functions_url.origin().ascii_serialization(),
            format!("http://localhost:{}", listen.port()),
        ];
        for origin in own_origins {
            if !allowed_origins.contains(&origin) {
                allowed_origins.push(origin);
            }
        }
        let drain_seconds = env.or("DRAIN_SECONDS", 0);
        Some(Self { public_url, gateway_url, allowed_origins, drain_seconds, functions_url })
    }
}

/// `Url` writes an empty path as `/`, to which paths cannot be appended.
pub fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, variables: &[(&str, &str)]) -> Settings {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Env::read(lookup, |env| Settings::read(env, listen.parse().unwrap())).unwrap()
    }

    #[test]
    fn own_origins_are_added_to_those_of_the_environment() {
        let defaults = settings("0.0.0.0:8080", &[]);
        assert_eq!(defaults.allowed_origins, ["http://127.0.0.1:8080", "http://localhost:8080"]);
        assert_eq!(defaults.public_url.as_str(), "http://127.0.0.1:8080/");
        let given = settings(
            "127.0.0.1:8080",
            &[
                ("PUBLIC_URL", "https://chat.example"),
                ("ALLOWED_ORIGINS", "https://shop.example, http://localhost:8080"),
                ("DRAIN_SECONDS", "7"),
            ],
        );
        let origins = [
            "https://shop.example",
            "http://localhost:8080",
            "https://chat.example",
            "http://127.0.0.1:8080",
        ];
        assert_eq!(given.allowed_origins, origins);
        assert_eq!((given.gateway_url, given.drain_seconds), (given.public_url, 7));
    }
}
