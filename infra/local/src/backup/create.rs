//! `local backup`.

use std::path::Path;

use anyhow::Context as _;
use chrono::Utc;
use service::env::Env;
use store::sqlite_copy;

use super::{Summary, copy, manifest::Manifest, source::Source};
use crate::{DATABASE, data_folder, s3, services::S3_BUCKET};

/// Makes a backup of the data folder in `target`, a new or empty folder. `local` may be running.
pub async fn create(data: &Path, target: &Path) -> anyhow::Result<Summary> {
    data_folder::make_new_files_private();
    copy::create_empty(target)?;
    let source = Source::open(data).await?;
    let made = make(data, target, &source).await;
    let closed = source.close().await;
    let summary = made?;
    closed?;
    Ok(summary)
}

async fn make(data: &Path, target: &Path, source: &Source) -> anyhow::Result<Summary> {
    let mut manifest = Manifest::new(Utc::now());
    let config = Env::read(|name| source.variables.get(name), archive::Config::from_env)?;
    let archived = archive::wait_until_archived(&config).await;
    archived.context("cannot wait for the archive of the data folder")?;
    let database = target.join(DATABASE);
    sqlite_copy::copy(&data.join(DATABASE), &database).await?;
    manifest.files.push(copy::entry_of(target, Path::new(DATABASE))?);
    for object in sqlite_copy::referred_objects(&database).await? {
        let [content, details @ ..] = s3::files_of(S3_BUCKET, &object.object_key)
            .map(|path| Path::new(s3::FOLDER).join(path));
        match copy::copy(data, target, &content)? {
            Some(entry) => manifest.files.push(entry),
            None if object.is_complete => manifest.missing.push(object.object_key),
            // Declared and not uploaded yet.
            None => {}
        }
        for path in details {
            manifest.files.extend(copy::copy(data, target, &path)?);
        }
    }
    copy::sync_folders(target)?;
    manifest.write(target)?;
    Ok(manifest.summary())
}
