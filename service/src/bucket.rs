//! Reading a key-value bucket (ADR-8 of NATS) by direct get from its stream. To put a value, publish it with
//! [`crate::roomlog::RoomLog::publish`].

use async_nats::Message;
use bytes::Bytes;
use protocol::{Seq, subject};
use serde_json::json;

use crate::{
    direct::{DirectGet, Origin, origin},
    log_error::LogError,
};

/// The header of a message that deletes its key.
const KV_OPERATION: &str = "KV-Operation";

/// A bucket, for reading.
#[derive(Clone)]
pub struct Bucket {
    stored: DirectGet,
    stream: String,
    /// The subject of a key is this prefix and the key.
    prefix: String,
}

/// One value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEntry {
    pub key: String,
    pub seq: Seq,
    /// `None` if the key was deleted.
    pub value: Option<Bytes>,
}

impl Bucket {
    pub fn new(stored: DirectGet, name: &str) -> Self {
        let (stream, prefix) = (subject::bucket_stream(name), subject::bucket_put(name, ""));
        Self { stored, stream, prefix }
    }

    /// The newest value of a key.
    pub async fn value(&self, key: &str) -> Result<Option<Bytes>, LogError> {
        let request = json!({ "last_by_subj": format!("{}{key}", self.prefix) });
        let newest = self.stored.messages(&self.stream, &request).await?.into_iter().next();
        Ok(newest.and_then(value_of))
    }

    /// The newest values of some keys. Keys without a value are left out.
    pub async fn values(&self, keys: &[String]) -> Result<Vec<Bytes>, LogError> {
        let subjects: Vec<String> =
            keys.iter().map(|key| format!("{}{key}", self.prefix)).collect();
        let request = json!({ "multi_last": subjects });
        let newest = self.stored.messages(&self.stream, &request).await?;
        Ok(newest.into_iter().filter_map(value_of).collect())
    }

    /// The values of all keys after a sequence, oldest first, at most `limit` of them.
    pub async fn after(&self, seq: Seq, limit: usize) -> Result<Vec<BucketEntry>, LogError> {
        let all = format!("{}>", self.prefix);
        let request = json!({ "seq": seq.next(), "next_by_subj": all, "batch": limit });
        let messages = self.stored.messages(&self.stream, &request).await?;
        let entry = |message| self.entry(message).ok_or("the message is not in the bucket".into());
        messages.into_iter().map(entry).collect::<Result<_, _>>().map_err(LogError::Unavailable)
    }

    /// The entry in a message that was read or republished. `None` if the message is not stored in this bucket: a
    /// process that may not publish to the subject can still reach it, as the reply subject of a request.
    pub fn entry(&self, message: Message) -> Option<BucketEntry> {
        let Origin { stream, subject, seq } = origin(&message).ok()?;
        let key = subject.strip_prefix(&self.prefix).filter(|_| stream == self.stream)?.to_owned();
        Some(BucketEntry { key, seq, value: value_of(message) })
    }
}

fn value_of(message: Message) -> Option<Bytes> {
    let headers = message.headers.as_ref();
    let is_deleted = headers.is_some_and(|headers| headers.get(KV_OPERATION).is_some());
    (!is_deleted).then_some(message.payload)
}
