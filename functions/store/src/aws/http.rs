//! The HTTP client of the AWS SDK. Not the SDK's default client, which panics at its first request if the machine has
//! no root certificates, ignores `AWS_CA_BUNDLE`, and keeps idle connections for longer than a Lambda function stays
//! awake.

use std::time::Duration;

use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::config::AwsConfig;

/// How long an idle connection is kept. A Lambda function may be frozen for minutes between two requests, and a
/// connection that was dropped meanwhile would time out. A new connection costs some milliseconds.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// Creates the client. Fails if it could verify no server's certificate; `needs_tls` is false if all requests are
/// plain HTTP.
pub fn client(config: &AwsConfig, needs_tls: bool) -> anyhow::Result<SharedHttpClient> {
    let builder = Builder::new().pool_idle_timeout(IDLE_FOR);
    if !needs_tls {
        return Ok(builder.build_http());
    }
    let store = match &config.ca_bundle {
        Some(pem) => TrustStore::empty().with_pem_certificate(pem.as_bytes()),
        None => {
            anyhow::ensure!(
                !rustls_native_certs::load_native_certs().certs.is_empty(),
                "this machine has no root certificates, so no TLS connection is possible: install the package \
                 ca-certificates, or set AWS_CA_BUNDLE"
            );
            TrustStore::default()
        }
    };
    let context = TlsContext::builder().with_trust_store(store).build()?;
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}
