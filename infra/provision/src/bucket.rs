//! The bucket that files go to.

use anyhow::Context as _;
use aws_sdk_s3::{
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, CorsConfiguration, CorsRule,
        ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
    },
};
use functions::storage::Storage;

/// An upload that was not finished in a day will not be.
const ABORT_AFTER_DAYS: i32 = 1;
/// Browsers ask again after this many seconds.
const CORS_MAX_AGE: i32 = 3600;

/// Brings the bucket to what this version needs. Storages that have no such call for CORS or
/// lifecycle are told so in the log; MinIO sets CORS by its own configuration.
pub async fn provision(storage: &Storage, origins: &[String]) -> anyhow::Result<()> {
    let (client, bucket) = storage.admin();
    match client.create_bucket().bucket(bucket).send().await {
        Ok(_) => tracing::info!(bucket, "the bucket is made"),
        Err(error)
            if matches!(error.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) =>
        {
            tracing::info!(bucket, "the bucket is there");
        }
        Err(error) => {
            let text = DisplayErrorContext(&error).to_string();
            return Err(anyhow::anyhow!(text)).with_context(|| format!("S3 bucket {bucket}"));
        }
    }
    if !origins.is_empty() {
        let rule = CorsRule::builder()
            .set_allowed_origins(Some(origins.to_vec()))
            .set_allowed_methods(Some(["GET", "HEAD", "PUT"].map(str::to_owned).to_vec()))
            .allowed_headers("*")
            .expose_headers("ETag")
            .max_age_seconds(CORS_MAX_AGE)
            .build()?;
        let cors = CorsConfiguration::builder().cors_rules(rule).build()?;
        let put = client.put_bucket_cors().bucket(bucket).cors_configuration(cors).send().await;
        tolerate("CORS", put.map(drop))?;
    }
    let rule = LifecycleRule::builder()
        .id("abort-unfinished-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder()
                .days_after_initiation(ABORT_AFTER_DAYS)
                .build(),
        )
        .build()?;
    let lifecycle = BucketLifecycleConfiguration::builder().rules(rule).build()?;
    let put = client
        .put_bucket_lifecycle_configuration()
        .bucket(bucket)
        .lifecycle_configuration(lifecycle)
        .send()
        .await;
    tolerate("lifecycle rules", put.map(drop))
}

/// A storage without the feature is no fault; any other refusal is.
fn tolerate<E>(what: &str, result: Result<(), E>) -> anyhow::Result<()>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(()) => tracing::info!("the bucket has its {what}"),
        Err(error)
            if matches!(
                error.code(),
                Some("NotImplemented" | "InvalidArgument" | "MalformedXML")
            ) =>
        {
            tracing::warn!(code = error.code(), "this storage takes no {what}; set them there");
        }
        Err(error) => {
            return Err(anyhow::anyhow!("{}", DisplayErrorContext(&error)))
                .with_context(|| format!("the bucket's {what}"));
        }
    }
    Ok(())
}
