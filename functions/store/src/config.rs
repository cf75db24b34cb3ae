//! Configuration of the database, the object storage and AWS, from environment variables.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use service::env::Env;
use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use url::Url;

/// A transaction may need a second connection, for instance for a rate limit. With one, it would wait for itself.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 2..=1_000;
/// Connections of a Lambda function: it serves one request at a time, and there may be hundreds of instances.
const LAMBDA_CONNECTIONS: u32 = 2;

/// The database.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`: `postgres://…` or `sqlite://…`. It holds a password, so it is a secret.
    pub url: SecretString,
    /// `DATABASE_CONNECTIONS`: size of the pool.
    pub connections: Option<u32>,
    /// `DATABASE_CA`: certificates in PEM that the server's certificate is verified against, besides public ones.
    pub ca: Option<SecretString>,
    /// `DATABASE_AUTH=iam`: the password is a token signed with AWS credentials.
    pub iam: Option<AwsConfig>,
    /// `DATABASE_POOLER=transaction`: a proxy gives each transaction any of its connections, so nothing may be kept in
    /// a session.
    pub has_pooler: bool,
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL` and the variables for details.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let url = env.required_secret(
            "DATABASE_URL",
            "postgres://user:password@host/database or sqlite://file",
        );
        let has_pooler = env.choice("DATABASE_POOLER", &["none", "transaction"]) == "transaction";
        let is_iam = env.choice("DATABASE_AUTH", &["password", "iam"]) == "iam";
        let iam = is_iam.then(|| AwsConfig::from_env(env));
        let is_lambda = env.optional::<String>("AWS_LAMBDA_FUNCTION_NAME").is_some();
        let connections = env.optional_within("DATABASE_CONNECTIONS", CONNECTIONS);
        let connections = connections.or(is_lambda.then_some(LAMBDA_CONNECTIONS));
        let ca = env.pem("DATABASE_CA");
        let url = url?;
        if let Err(error) = check_url(url.expose_secret(), is_iam) {
            env.fault(format!("DATABASE_URL is not valid: {error}"));
        }
        Some(Self { url, connections, ca, iam, has_pooler })
    }

    /// The database at a URL, with defaults for everything else.
    pub fn of_url(url: &str) -> Self {
        Self { url: url.into(), connections: None, ca: None, iam: None, has_pooler: false }
    }
}

/// The error does not contain the address, because it holds a password.
fn check_url(url: &str, is_iam: bool) -> anyhow::Result<()> {
    let is_sqlite = url.starts_with("sqlite:");
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    anyhow::ensure!(is_sqlite || is_postgres, "it must begin with postgres:// or sqlite://");
    if is_iam {
        let has_password = Url::parse(url).is_ok_and(|url| url.password().is_some());
        anyhow::ensure!(
            is_postgres && !has_password,
            "DATABASE_AUTH=iam needs PostgreSQL without a password"
        );
    }
    if is_sqlite {
        SqliteConnectOptions::from_str(url)?;
    } else {
        PgConnectOptions::from_str(url)?;
    }
    Ok(())
}

/// How requests are sent to AWS, or to another S3 server.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// `AWS_REGION`
    pub region: String,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; without them the AWS SDK finds credentials.
    pub credentials: Option<(String, SecretString)>,
    /// `AWS_CA_BUNDLE`: certificates in PEM that servers' certificates are verified against, in place of the machine's.
    pub ca_bundle: Option<String>,
}

impl AwsConfig {
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let key: Option<String> = env.optional("AWS_ACCESS_KEY_ID");
        let secret = env.secret("AWS_SECRET_ACCESS_KEY");
        let has_session = env.optional::<String>("AWS_SESSION_TOKEN").is_some();
        Self {
            region: env.or("AWS_REGION", "us-east-1".to_owned()),
            // Temporary credentials, as in Lambda, are left to the AWS SDK, which renews them.
            credentials: key.zip(secret).filter(|_| !has_session),
            ca_bundle: env.pem("AWS_CA_BUNDLE").map(|pem| pem.expose_secret().to_owned()),
        }
    }
}

/// The object storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    pub aws: AwsConfig,
    /// `S3_ENDPOINT`: the URL of an S3 server other than AWS.
    pub endpoint: Option<Url>,
    /// `S3_PUBLIC_ENDPOINT`: the URL of the same server for browsers.
    pub public_endpoint: Option<Url>,
    /// `S3_BUCKET`
    pub bucket: String,
}

impl StorageConfig {
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let bucket = env.required("S3_BUCKET", "the bucket for files");
        let endpoint = env.http_url("S3_ENDPOINT");
        Some(Self {
            aws: AwsConfig::from_env(env),
            public_endpoint: env.http_url("S3_PUBLIC_ENDPOINT").or_else(|| endpoint.clone()),
            endpoint,
            bucket: bucket?,
        })
    }

    /// The origin that browsers upload to, for the page's content security policy.
    pub fn public_origin(&self) -> String {
        match &self.public_endpoint {
            Some(url) => url.origin().ascii_serialization(),
            None => format!("https://{}.s3.{}.amazonaws.com", self.bucket, self.aws.region),
        }
    }

    /// Whether requests to the storage use TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| endpoint.scheme() != "http")
    }
}

/// Reads the origin that browsers upload to, for the page's content security policy. Needs no access to the storage.
pub fn storage_origin_from_env(env: &mut Env<'_>) -> Option<String> {
    let (endpoint, public) = (env.http_url("S3_ENDPOINT"), env.http_url("S3_PUBLIC_ENDPOINT"));
    if let Some(url) = public.or(endpoint) {
        return Some(url.origin().ascii_serialization());
    }
    let bucket: String = env.required("S3_BUCKET", "the bucket for files")?;
    let region = env.or("AWS_REGION", "us-east-1".to_owned());
    Some(format!("https://{bucket}.s3.{region}.amazonaws.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<DatabaseConfig, String> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Env::read(lookup, DatabaseConfig::from_env).map_err(|faults| faults.to_string())
    }

    #[test]
    fn details_of_the_database_are_read_and_checked() {
        let url = ("DATABASE_URL", "postgres://app@db.example/chat");
        let config = read(&[url]).unwrap();
        assert_eq!((config.connections, config.has_pooler), (None, false));
        let lambda = read(&[url, ("AWS_LAMBDA_FUNCTION_NAME", "rooms")]).unwrap();
        assert_eq!(lambda.connections, Some(LAMBDA_CONNECTIONS));
        let config = read(&[
            url,
            ("DATABASE_CONNECTIONS", "7"),
            ("DATABASE_POOLER", "transaction"),
            ("DATABASE_AUTH", "iam"),
        ]);
        let config = config.unwrap();
        assert_eq!((config.connections, config.has_pooler), (Some(7), true));
        assert!(config.iam.is_some());
        let secret = ("DATABASE_URL", "postgres://app:hunter2@db.example/chat");
        for (variables, fault) in [
            (&[secret, ("DATABASE_AUTH", "iam")][..], "PostgreSQL without a password"),
            (&[url, ("DATABASE_AUTH", "kerberos")], "DATABASE_AUTH must be password or iam"),
            (&[url, ("DATABASE_POOLER", "session")], "DATABASE_POOLER must be none or transaction"),
            (&[url, ("DATABASE_CONNECTIONS", "1")], "DATABASE_CONNECTIONS must be 2 to 1000"),
            (&[url, ("DATABASE_CA", "/nowhere")], "DATABASE_CA: cannot read /nowhere"),
            (&[("DATABASE_URL", "mysql://a:hunter2@b")], "it must begin with"),
        ] {
            let faults = read(variables).unwrap_err();
            assert!(faults.contains(fault) && !faults.contains("hunter2"), "{fault}: {faults}");
        }
    }
}
