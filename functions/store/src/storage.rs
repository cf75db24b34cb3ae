//! Object storage (S3). Functions presign requests and check objects; browsers transfer the bytes.

mod reachability;

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata as _},
    presigning::PresigningConfig,
    types::{ChecksumMode, Object},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::try_join_all;
use protocol::{RoomId, Timestamp};
use service::trace::Span;
use tokio::sync::OnceCell;

use self::reachability::Reachability;
use crate::{
    StorageUnavailable, StoreError,
    aws::{http_client, sdk_config},
    config::StorageConfig,
};

/// Lifetime of a presigned URL. An upload must start within it.
pub const PRESIGNED_FOR: Duration = Duration::from_secs(10 * 60);
/// Bytes that are read to detect a file's media type.
const HEAD_BYTES: u64 = 1024;
/// Time limit of the readiness check.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// Concurrent requests when many objects are deleted.
const MAX_CONCURRENT_DELETES: usize = 8;

/// One bucket of an S3 server. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    config: StorageConfig,
    http: SharedHttpClient,
    /// Created at the first use.
    clients: OnceCell<Clients>,
    reachability: Reachability,
}

struct Clients {
    internal: Client,
    /// Signs URLs under the address by which browsers reach the same server.
    public: Client,
}

/// A presigned request, to be made by a browser.
#[derive(Debug)]
pub struct Presigned {
    pub url: String,
    /// Signed headers, which must be sent unchanged.
    pub headers: Vec<(String, String)>,
    pub expires_at: Timestamp,
}

/// The metadata of an uploaded object.
#[derive(Debug)]
pub struct UploadedObject {
    pub size: u64,
    pub media_type: String,
    /// Differs for different content (its ETag); empty if the storage gives none.
    pub version: String,
    /// In hexadecimal, if the storage has it.
    pub sha256: Option<String>,
}

/// Logs and counts the cause, and returns the domain error.
fn failed(what: &'static str, error: impl std::error::Error) -> StoreError {
    metrics::counter!("chat_storage_failures_total", "operation" => what).increment(1);
    tracing::warn!(error = %DisplayErrorContext(&error), "the storage failed to {what}");
    StorageUnavailable(what).into()
}

impl Storage {
    /// Connects at the first use. Fails if no connection could be made on this machine.
    pub fn new(config: &StorageConfig) -> anyhow::Result<Self> {
        let http = http_client(&config.aws, config.uses_tls())?;
        let (config, clients) = (config.clone(), OnceCell::new());
        Ok(Self(Arc::new(Inner { config, http, clients, reachability: Reachability::default() })))
    }

    async fn clients(&self) -> &Clients {
        let Inner { config, http, clients, .. } = &*self.0;
        let create = || async {
            let shared = sdk_config(&config.aws, http.clone()).await;
            let client = |endpoint: &Option<url::Url>| {
                let mut builder = aws_sdk_s3::config::Builder::from(&shared);
                if let Some(endpoint) = endpoint {
                    builder = builder.endpoint_url(endpoint.as_str()).force_path_style(true);
                }
                Client::from_conf(builder.build())
            };
            Clients { internal: client(&config.endpoint), public: client(&config.public_endpoint) }
        };
        clients.get_or_init(create).await
    }

    fn bucket(&self) -> &str {
        &self.0.config.bucket
    }

    /// The client and the bucket name, for `provision`.
    pub async fn admin(&self) -> (&Client, &str) {
        (&self.clients().await.internal, self.bucket())
    }

    /// Presigns a PUT of exactly this size and media type, which does not overwrite. With a checksum, the storage
    /// rejects other content. Fails while the storage does not answer.
    pub async fn presign_put(
        &self,
        key: &str,
        size: u64,
        media_type: &str,
        sha256: Option<&[u8; 32]>,
    ) -> Result<Presigned, StoreError> {
        self.check_reachable().await?;
        let size = i64::try_from(size).map_err(|error| StoreError::Internal(error.into()))?;
        let checksum = sha256.map(|hash| BASE64_STANDARD.encode(hash));
        let request = self
            .clients()
            .await
            .public
            .put_object()
            .bucket(self.bucket())
            .key(key)
            .content_length(size)
            .content_type(media_type)
            .if_none_match("*")
            .set_checksum_sha256(checksum)
            .presigned(expires()?)
            .await
            .map_err(|error| failed("sign an upload", error))?;
        let headers = request
            .headers()
            // Browsers set these two themselves and forbid scripts to. They are signed nevertheless.
            .filter(|(name, _)| !matches!(*name, "content-length" | "host"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Presigned { url: request.uri().to_owned(), headers, expires_at: expires_at() })
    }

    /// Presigns a GET whose response has these headers, whatever was uploaded. Fails while the storage does not answer.
    pub async fn presign_get(
        &self,
        key: &str,
        disposition: &str,
        media_type: &str,
    ) -> Result<Presigned, StoreError> {
        self.check_reachable().await?;
        let request = self
            .clients()
            .await
            .public
            .get_object()
            .bucket(self.bucket())
            .key(key)
            .response_content_disposition(disposition)
            .response_content_type(media_type)
            .presigned(expires()?)
            .await
            .map_err(|error| failed("sign a download", error))?;
        Ok(Presigned {
            url: request.uri().to_owned(),
            headers: Vec::new(),
            expires_at: expires_at(),
        })
    }

    /// The metadata of an object, if it exists.
    pub async fn head(&self, key: &str) -> Result<Option<UploadedObject>, StoreError> {
        let _span = Span::within("storage head");
        let answer = self
            .clients()
            .await
            .internal
            .head_object()
            .bucket(self.bucket())
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match answer {
            Ok(object) => {
                let sha256 = object.checksum_sha256().and_then(|text| {
                    let bytes = BASE64_STANDARD.decode(text).ok()?;
                    Some(hex::encode(bytes))
                });
                Ok(Some(UploadedObject {
                    size: object.content_length().and_then(|n| n.try_into().ok()).unwrap_or(0),
                    version: object.e_tag().unwrap_or_default().to_owned(),
                    media_type: object.content_type().unwrap_or_default().to_owned(),
                    sha256,
                }))
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => {
                Ok(None)
            }
            Err(error) => Err(failed("describe an object", error)),
        }
    }

    /// The first bytes of an object.
    pub async fn first_bytes(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        let _span = Span::within("storage get");
        let range = format!("bytes=0-{}", HEAD_BYTES - 1);
        let object =
            self.clients().await.internal.get_object().bucket(self.bucket()).key(key).range(range);
        let object = object.send().await.map_err(|error| failed("read an object", error))?;
        let body = object.body.collect().await.map_err(|error| failed("read an object", error))?;
        Ok(body.to_vec())
    }

    /// Hashes an object, a chunk at a time. Only for objects that the storage cannot check itself.
    pub async fn sha256(&self, key: &str) -> Result<String, StoreError> {
        let _span = Span::within("storage get");
        use sha2::Digest as _;
        let object = self.clients().await.internal.get_object().bucket(self.bucket()).key(key);
        let object = object.send().await.map_err(|error| failed("read an object", error))?;
        let (mut body, mut hash) = (object.body, sha2::Sha256::new());
        while let Some(chunk) = body.next().await {
            hash.update(chunk.map_err(|error| failed("read an object", error))?);
        }
        Ok(hex::encode(hash.finalize()))
    }

    /// Deletes an object; a missing one is no error.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let _span = Span::within("storage delete");
        let answer = self
            .clients()
            .await
            .internal
            .delete_object()
            .bucket(self.bucket())
            .key(key)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(failed("delete an object", error)),
        }
    }

    /// Deletes an object or, for a key that ends in `/`, all objects with that prefix.
    pub async fn delete_all(&self, key: &str) -> Result<(), StoreError> {
        if !key.ends_with('/') {
            return self.delete(key).await;
        }
        let list =
            self.clients().await.internal.list_objects_v2().bucket(self.bucket()).prefix(key);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("list objects", error))?;
            let keys: Vec<&str> = page.contents().iter().filter_map(Object::key).collect();
            for some in keys.chunks(MAX_CONCURRENT_DELETES) {
                try_join_all(some.iter().map(|key| self.delete(key))).await?;
            }
        }
        Ok(())
    }

    /// Fails if the storage did not answer when it was last asked, some seconds ago at most.
    async fn check_reachable(&self) -> Result<(), StoreError> {
        match self.0.reachability.get_or_check(self.answers()).await {
            true => Ok(()),
            false => Err(StorageUnavailable("answer").into()),
        }
    }

    /// Whether the storage answers in time. A refusal is an answer too: a role that may only read and write objects
    /// may not ask for the bucket.
    async fn answers(&self) -> bool {
        let head = self.clients().await.internal.head_bucket().bucket(self.bucket()).send();
        match tokio::time::timeout(READY_WITHIN, head).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                let answers = status.is_some_and(|status| status < 500);
                if !answers {
                    let error = DisplayErrorContext(&error);
                    tracing::warn!(%error, "the storage does not answer; file requests are refused");
                }
                answers
            }
            Err(_) => {
                tracing::warn!("the storage does not answer in time; file requests are refused");
                false
            }
        }
    }

    /// Whether the bucket answers in time.
    pub async fn ready(&self) -> bool {
        let head = self.clients().await.internal.head_bucket().bucket(self.bucket()).send();
        matches!(tokio::time::timeout(READY_WITHIN, head).await, Ok(Ok(_)))
    }
}

/// The key prefix of all files of a room.
pub fn room_prefix(room: RoomId) -> String {
    format!("{room}/")
}

fn expires() -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(PRESIGNED_FOR).map_err(|error| StoreError::Internal(error.into()))
}

fn expires_at() -> Timestamp {
    Timestamp::from(Timestamp::now().utc() + PRESIGNED_FOR)
}
