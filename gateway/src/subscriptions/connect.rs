//! Connecting to a NATS server and authenticating.

use std::{io, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use service::nats::{ANSWER_WITHIN, Credentials, NatsConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use url::Url;

use super::wire::{Decoder, Operation, ServerInfo};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// A byte stream: TCP, or TLS over TCP.
pub trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Carrier for T {}

/// An authenticated connection.
pub struct Connection {
    pub stream: Box<dyn Carrier>,
    pub decoder: Decoder,
    pub info: ServerInfo,
}

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    tls: bool,
    /// User and password from the address, as in `nats://user:password@host`.
    user: Option<(String, String)>,
}

impl Server {
    /// Reads `nats://host:port`, `tls://host:port` or `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
        let url = Url::parse(&url).ok()?;
        let user = url.password().map(|password| (url.username().to_owned(), password.to_owned()));
        Some(Self {
            host: url.host_str()?.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(4222),
            tls: url.scheme() == "tls",
            user,
        })
    }

    /// Another server of the same cluster, with the same security.
    pub fn peer(&self, address: &str) -> Option<Self> {
        let other = Self::parse(address)?;
        Some(Self { tls: self.tls, user: self.user.clone(), ..other })
    }

    /// Connects and authenticates, within the time that an answer may take.
    pub async fn connect(&self, config: &NatsConfig) -> io::Result<Connection> {
        timeout(ANSWER_WITHIN, self.authenticate(config)).await?
    }

    async fn authenticate(&self, config: &NatsConfig) -> io::Result<Connection> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let (mut stream, mut decoder): (Box<dyn Carrier>, _) =
            (Box::new(stream), Decoder::default());
        let info = loop {
            match decoder.operation().map_err(broken)? {
                Some(Operation::Info(info)) => break *info,
                Some(_) => return Err(broken("the first operation is not INFO")),
                None => read(&mut stream, &mut decoder).await?,
            }
        };
        if self.tls || info.tls_required {
            stream = Box::new(secured(stream, &self.host, config).await?);
        }
        let mut hello = json!({
            "verbose": false, "pedantic": false, "tls_required": self.tls, "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "echo": true, "headers": true,
            "no_responders": true, "name": format!("chatting-room {} rooms", config.role),
        });
        self.add_credentials(config, &info, &mut hello)?;
        stream.write_all(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await?;
        loop {
            match decoder.operation().map_err(broken)? {
                Some(Operation::Pong) => return Ok(Connection { stream, decoder, info }),
                Some(Operation::Error(error)) => return Err(broken(error)),
                Some(_) => {}
                None => read(&mut stream, &mut decoder).await?,
            }
        }
    }

    /// Adds credentials to `hello`.
    fn add_credentials(
        &self,
        config: &NatsConfig,
        info: &ServerInfo,
        hello: &mut Value,
    ) -> io::Result<()> {
        match (&config.credentials, &self.user) {
            (Credentials::Password { user, password }, _) => {
                hello["user"] = json!(user);
                hello["pass"] = json!(password.expose_secret());
            }
            (Credentials::Creds(creds), _) => {
                let (jwt, seed) = credentials(creds.expose_secret())
                    .ok_or_else(|| broken("NATS_CREDS holds no JWT and seed of a user"))?;
                let key = nkeys::KeyPair::from_seed(seed).map_err(broken)?;
                let signature = key.sign(info.nonce.as_bytes()).map_err(broken)?;
                hello["jwt"] = json!(jwt);
                hello["sig"] = json!(BASE64_URL_SAFE_NO_PAD.encode(signature));
            }
            (Credentials::None, Some((user, password))) => {
                hello["user"] = json!(user);
                hello["pass"] = json!(password);
            }
            (Credentials::None, None) => {}
        }
        Ok(())
    }
}

/// Reads the available bytes. The end of the stream is an error.
pub async fn read(stream: &mut Box<dyn Carrier>, decoder: &mut Decoder) -> io::Result<()> {
    decoder.buffer.reserve(READ);
    match stream.read_buf(&mut decoder.buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn secured(
    stream: Box<dyn Carrier>,
    host: &str,
    config: &NatsConfig,
) -> io::Result<impl Carrier + use<>> {
    let name = ServerName::try_from(host.to_owned()).map_err(broken)?;
    TlsConnector::from(config.tls_config()?).connect(name, stream).await
}

/// The JWT and the seed in a credentials file, each between lines of dashes.
fn credentials(text: &str) -> Option<(&str, &str)> {
    let mut blocks = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut after = |title: &str| {
        blocks.by_ref().find(|line| line.starts_with("---") && line.contains(title))?;
        blocks.next()
    };
    let jwt = after("BEGIN NATS USER JWT")?;
    let seed = after("BEGIN USER NKEY SEED")?;
    Some((jwt, seed))
}

/// The backoff before the next attempt to connect. Its maximum is short, because all rooms wait for the
/// connection.
pub fn backoff(failures: u32) -> Duration {
    let doubled = Duration::from_millis(50 << failures.min(6));
    if failures == 0 { Duration::ZERO } else { doubled.min(Duration::from_secs(2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_parsed() {
        let server =
            |host: &str, port, tls| Some(Server { host: host.into(), port, tls, user: None });
        assert_eq!(Server::parse("nats://nats:4223"), server("nats", 4223, false));
        assert_eq!(Server::parse(" tls://nats.example"), server("nats.example", 4222, true));
        assert_eq!(Server::parse("10.0.0.1:4222"), server("10.0.0.1", 4222, false));
        assert_eq!(Server::parse("nats://[::1]:4222"), server("::1", 4222, false));
        let user = Server::parse("nats://ada:secret@nats:1").unwrap().user;
        assert_eq!(user, Some(("ada".into(), "secret".into())));
        assert_eq!(Server::parse("nats://"), None);
    }

    #[test]
    fn a_credentials_file_is_read() {
        let text = "-----BEGIN NATS USER JWT-----\neyJ0.x.y\n------END NATS USER JWT------\n\n\
                    ************* IMPORTANT *************\n\n\
                    -----BEGIN USER NKEY SEED-----\nSUAB\n------END USER NKEY SEED------\n";
        assert_eq!(credentials(text), Some(("eyJ0.x.y", "SUAB")));
        assert_eq!(credentials("nothing of the kind"), None);
    }

    #[test]
    fn the_backoff_grows_up_to_a_maximum() {
        assert_eq!(backoff(0), Duration::ZERO);
        assert!(backoff(1) < backoff(3) && backoff(1_000) == Duration::from_secs(2));
    }
}
