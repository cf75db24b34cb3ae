//! Configuration of the database and the object storage, from environment variables.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use service::env::Env;
use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use url::Url;

/// `DATABASE_URL`: `postgres://…` or `sqlite://…`. It holds a password, so it is a secret.
#[derive(Debug, Clone)]
pub struct DatabaseConfig(pub SecretString);

impl DatabaseConfig {
    /// Reads `DATABASE_URL` or `DATABASE_URL_FILE`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let hint = "postgres://user:password@host/database or sqlite://file";
        let url = env.required_secret("DATABASE_URL", hint)?;
        if let Err(error) = check_database_url(url.expose_secret()) {
            env.fault(format!("DATABASE_URL is not valid: {error}"));
        }
        Some(Self(url))
    }
}

/// The error does not contain the address, because it holds a password.
fn check_database_url(url: &str) -> anyhow::Result<()> {
    if url.starts_with("sqlite:") {
        SqliteConnectOptions::from_str(url)?;
        return Ok(());
    }
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    anyhow::ensure!(is_postgres, "it must begin with postgres:// or sqlite://");
    PgConnectOptions::from_str(url)?;
    Ok(())
}

/// The object storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// `S3_ENDPOINT`: the URL of an S3 server other than AWS.
    pub endpoint: Option<Url>,
    /// `S3_PUBLIC_ENDPOINT`: the URL of the same server for browsers.
    pub public_endpoint: Option<Url>,
    /// `S3_BUCKET`
    pub bucket: String,
    /// `AWS_REGION`
    pub region: String,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; without them the AWS SDK finds credentials.
    pub credentials: Option<(String, SecretString)>,
}

impl StorageConfig {
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let bucket = env.required("S3_BUCKET", "the bucket for files");
        let endpoint = env.http_url("S3_ENDPOINT");
        let key: Option<String> = env.optional("AWS_ACCESS_KEY_ID");
        let secret = env.secret("AWS_SECRET_ACCESS_KEY");
        let has_session = env.optional::<String>("AWS_SESSION_TOKEN").is_some();
        Some(Self {
            public_endpoint: env.http_url("S3_PUBLIC_ENDPOINT").or_else(|| endpoint.clone()),
            endpoint,
            bucket: bucket?,
            region: env.or("AWS_REGION", "us-east-1".to_owned()),
            // Temporary credentials, as in Lambda, are left to the AWS SDK, which renews them.
            credentials: key.zip(secret).filter(|_| !has_session),
        })
    }

    /// The origin that browsers upload to, for the page's content security policy.
    pub fn public_origin(&self) -> String {
        match &self.public_endpoint {
            Some(url) => url.origin().ascii_serialization(),
            None => format!("https://{}.s3.{}.amazonaws.com", self.bucket, self.region),
        }
    }
}
