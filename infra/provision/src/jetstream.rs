//! Reads and writes of stream configurations.

use anyhow::Context as _;
use async_nats::jetstream::{
    Context, ErrorCode,
    consumer::PullConsumer,
    context::GetStreamErrorKind,
    stream::{Config, Info},
};
use protocol::{Seq, subject::ARCHIVE_CONSUMER};

use crate::report::{Outcome, report};

/// The configuration of a stream, if it exists.
pub async fn config_of(context: &Context, stream: &str) -> anyhow::Result<Option<Config>> {
    Ok(info(context, stream).await?.map(|info| info.config))
}

/// The last sequence of a stream, if it exists.
pub async fn last_sequence(context: &Context, stream: &str) -> anyhow::Result<Option<Seq>> {
    let last = info(context, stream).await?.map(|info| info.state.last_sequence);
    Ok(last.map(Seq::try_from).transpose()?)
}

async fn info(context: &Context, stream: &str) -> anyhow::Result<Option<Info>> {
    match context.get_stream(stream).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(refusal)
                if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(error).with_context(|| format!("stream {stream}")),
        },
    }
}

/// Creates a stream, or updates it to this configuration. `item` is its name in the log.
pub async fn create_or_update(context: &Context, item: &str, config: Config) -> anyhow::Result<()> {
    let before = config_of(context, &config.name).await?;
    let now = context.create_or_update_stream(config).await.with_context(|| item.to_owned())?;
    report(item, Outcome::of(before.as_ref(), &now.config));
    Ok(())
}

/// The archive's consumer of a stream. Any failure counts as absence.
pub async fn archive_consumer(context: &Context, stream: &str) -> Option<PullConsumer> {
    context.get_consumer_from_stream(ARCHIVE_CONSUMER, stream).await.ok()
}
