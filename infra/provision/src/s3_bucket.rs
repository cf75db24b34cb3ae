//! The S3 bucket of all files.

use anyhow::Context as _;
use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, CorsConfiguration, CorsRule,
        ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
    },
};
use store::storage::Storage;

use crate::report::{Outcome, report};

/// Age at which an incomplete multipart upload is aborted.
const ABORT_AFTER_DAYS: i32 = 1;

/// Creates the bucket and sets its CORS and lifecycle rules. Storage that does not support such rules is not an error:
/// MinIO, for example, configures CORS on the server.
pub async fn provision(storage: &Storage, origins: &[String]) -> anyhow::Result<()> {
    let (client, bucket) = storage.admin().await;
    let outcome = match client.create_bucket().bucket(bucket).send().await {
        Ok(_) => Outcome::Created,
        Err(error)
            if matches!(error.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) =>
        {
            Outcome::Unchanged
        }
        Err(error) => return Err(to_anyhow(&error)).with_context(|| format!("S3 bucket {bucket}")),
    };
    report(&format!("S3 bucket {bucket}"), outcome);
    if !origins.is_empty() {
        cors(client, bucket, origins).await.context("cannot set the CORS rules of the bucket")?;
    }
    lifecycle(client, bucket).await.context("cannot set the lifecycle rules of the bucket")
}

async fn cors(client: &Client, bucket: &str, origins: &[String]) -> anyhow::Result<()> {
    let rule = CorsRule::builder()
        .set_allowed_origins(Some(origins.to_vec()))
        .set_allowed_methods(Some(["GET", "HEAD", "PUT"].map(str::to_owned).to_vec()))
        .allowed_headers("*")
        .expose_headers("ETag")
        .max_age_seconds(i32::try_from(service::cors::MAX_AGE.as_secs())?)
        .build()?;
    let before = client.get_bucket_cors().bucket(bucket).send().await;
    let before = before.ok().and_then(|found| found.cors_rules);
    let rules = vec![rule];
    let put = if before.as_ref() == Some(&rules) {
        Ok(())
    } else {
        let wanted = CorsConfiguration::builder().set_cors_rules(Some(rules.clone())).build()?;
        client.put_bucket_cors().bucket(bucket).cors_configuration(wanted).send().await.map(drop)
    };
    report("S3 CORS rules", supported(put, Outcome::of(before.as_ref(), &rules))?);
    Ok(())
}

async fn lifecycle(client: &Client, bucket: &str) -> anyhow::Result<()> {
    let abort = AbortIncompleteMultipartUpload::builder();
    let rule = LifecycleRule::builder()
        .id("abort-unfinished-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(abort.days_after_initiation(ABORT_AFTER_DAYS).build())
        .build()?;
    let before = client.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    let before = before.ok().and_then(|found| found.rules);
    let rules = vec![rule];
    let put = if before.as_ref() == Some(&rules) {
        Ok(())
    } else {
        let wanted =
            BucketLifecycleConfiguration::builder().set_rules(Some(rules.clone())).build()?;
        let put = client.put_bucket_lifecycle_configuration().bucket(bucket);
        put.lifecycle_configuration(wanted).send().await.map(drop)
    };
    report("S3 lifecycle rules", supported(put, Outcome::of(before.as_ref(), &rules))?);
    Ok(())
}

/// The outcome of a call that some storages do not support. The codes are those of MinIO, s3s and others.
fn supported<E>(put: Result<(), E>, done: Outcome) -> anyhow::Result<Outcome>
where
    E: ProvideErrorMetadata + std::error::Error,
{
    match put {
        Ok(()) => Ok(done),
        Err(error)
            if matches!(
                error.code(),
                Some("NotImplemented" | "InvalidArgument" | "MalformedXML")
            ) =>
        {
            Ok(Outcome::Unsupported)
        }
        Err(error) => Err(to_anyhow(&error)),
    }
}

/// Includes the causes, which the `Display` of the AWS SDK omits.
fn to_anyhow(error: &impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", DisplayErrorContext(error))
}
