//! Access to AWS: HTTP client, credentials, secrets, and passwords for RDS.

mod http;
mod rds_token;
mod secrets;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::timeout::TimeoutConfig;
use futures_util::future::{BoxFuture, FutureExt as _};
use secrecy::ExposeSecret as _;

pub use self::{http::client as http_client, rds_token::RdsToken, secrets::Environment};
use crate::config::AwsConfig;

/// Time limit of one call with all its retries. Below the time limit of a request.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Configuration of the SDK's clients. Reads profile files, if there are any; sends nothing. Boxed, because the SDK's
/// future has 20 KB.
pub fn sdk_config(config: &AwsConfig, http: SharedHttpClient) -> BoxFuture<'_, SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(config.region.clone()))
        .timeout_config(TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build());
    if let Some((key, secret)) = &config.credentials {
        let secret = secret.expose_secret();
        loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "env"));
    }
    loader.load().boxed()
}
