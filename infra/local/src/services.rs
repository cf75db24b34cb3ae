//! The services that every process needs, as environment variables.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::nats;

/// Bucket of all files.
pub const S3_BUCKET: &str = "files";
/// Required by the AWS SDK. The S3 server accepts any region.
const S3_REGION: &str = "us-east-1";

/// Addresses and credentials of running services.
pub struct Services {
    pub database_url: String,
    pub nats_url: String,
    /// By role, see [`nats::ROLES`].
    pub nats_passwords: BTreeMap<&'static str, String>,
    pub s3_address: SocketAddr,
    pub s3_key: S3Key,
    /// Private key of the functions as PEM.
    pub signing_key: String,
    /// URL of the functions, from which gateways load the public keys.
    pub functions_url: String,
}

/// Credentials of the S3 server.
pub struct S3Key {
    pub id: String,
    pub secret: String,
}

impl Services {
    /// The variables by name, as described in infra/README.md.
    pub fn into_variables(self) -> BTreeMap<String, String> {
        let variables = [
            ("DATABASE_URL", self.database_url),
            ("NATS_URL", self.nats_url),
            ("S3_ENDPOINT", format!("http://{}", self.s3_address)),
            ("S3_BUCKET", S3_BUCKET.to_owned()),
            ("AWS_REGION", S3_REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", self.s3_key.id),
            ("AWS_SECRET_ACCESS_KEY", self.s3_key.secret),
            ("SIGNING_KEY", self.signing_key),
            ("JWKS_URL", format!("{}/.well-known/jwks.json", self.functions_url)),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let passwords = self
            .nats_passwords
            .into_iter()
            .map(|(role, password)| (nats::password_variable(role), password));
        variables.into_iter().chain(passwords).collect()
    }
}
