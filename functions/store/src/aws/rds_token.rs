//! Passwords for RDS with IAM authentication: a presigned request in place of a password.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html>

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use secrecy::SecretString;
use tokio::sync::{Mutex, OnceCell};

use super::{http_client, sdk_config};
use crate::config::AwsConfig;

/// The lifetime that RDS allows.
const EXPIRES_IN: Duration = Duration::from_secs(15 * 60);
/// Age after which a new token is signed. A connection may take some seconds to use it.
const RENEW_AFTER: Duration = Duration::from_secs(10 * 60);

/// The current token for a database user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RdsToken(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    aws: AwsConfig,
    sdk: OnceCell<SdkConfig>,
    /// `host:port`
    server: String,
    user: String,
    /// When the current token was signed. By the clock rather than [`std::time::Instant`], which may stand still while
    /// a Lambda function is frozen.
    signed_at: Mutex<Option<SystemTime>>,
}

impl RdsToken {
    pub fn new(aws: AwsConfig, host: &str, port: u16, user: &str) -> Self {
        Self(Arc::new(Inner {
            aws,
            sdk: OnceCell::new(),
            server: format!("{host}:{port}"),
            user: user.to_owned(),
            signed_at: Mutex::default(),
        }))
    }

    /// A new token if there is none yet or it will expire soon.
    pub async fn renewed(&self) -> anyhow::Result<Option<SecretString>> {
        let mut signed_at = self.0.signed_at.lock().await;
        let now = SystemTime::now();
        let age = signed_at.map(|at| now.duration_since(at).unwrap_or(Duration::MAX));
        if age.is_some_and(|age| age < RENEW_AFTER) {
            return Ok(None);
        }
        let token = self.sign(now).await?;
        *signed_at = Some(now);
        Ok(Some(token))
    }

    async fn sign(&self, now: SystemTime) -> anyhow::Result<SecretString> {
        let Inner { aws, sdk, server, user, .. } = &*self.0;
        let sdk = sdk
            .get_or_try_init(async || anyhow::Ok(sdk_config(aws, http_client(aws, true)?).await));
        let provider = sdk.await?.credentials_provider();
        let provider =
            provider.context("there are no AWS credentials to log in to the database")?;
        let credentials = provider.provide_credentials().await?;
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(EXPIRES_IN);
        settings.signature_location = SignatureLocation::QueryParams;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&aws.region)
            .name("rds-db")
            .time(now)
            .settings(settings)
            .build()?;
        let mut url = url::Url::parse(&format!("https://{server}/"))?;
        url.query_pairs_mut().append_pair("Action", "connect").append_pair("DBUser", user);
        let request = SignableRequest::new(
            "GET",
            url.as_str(),
            std::iter::empty(),
            SignableBody::Bytes(&[]),
        )?;
        let (instructions, _) = sign(request, &params.into())?.into_parts();
        for (name, value) in instructions.params() {
            url.query_pairs_mut().append_pair(name, value);
        }
        // The token is the URL without its scheme.
        Ok(url.as_str().trim_start_matches("https://").to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[tokio::test]
    async fn a_token_is_a_presigned_request_and_is_renewed_only_when_it_is_old() {
        let aws = AwsConfig {
            region: "eu-north-1".to_owned(),
            credentials: Some(("AKIDEXAMPLE".to_owned(), "secret".to_owned().into())),
            ca_bundle: None,
        };
        let token = RdsToken::new(aws, "db.example", 5432, "chat+app");
        let first = token.renewed().await.unwrap().unwrap();
        let first = first.expose_secret();
        assert!(first.starts_with("db.example:5432/?Action=connect&DBUser=chat%2Bapp&"), "{first}");
        for part in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=AKIDEXAMPLE%2F",
            "%2Feu-north-1%2Frds-db%2Faws4_request",
            "X-Amz-Expires=900",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=",
        ] {
            assert!(first.contains(part), "{part}: {first}");
        }
        assert!(token.renewed().await.unwrap().is_none());
        *token.0.signed_at.lock().await = Some(SystemTime::now() - RENEW_AFTER);
        assert!(token.renewed().await.unwrap().is_some());
    }
}
