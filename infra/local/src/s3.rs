//! An S3 server over a folder. It has a port of its own, so that uploaded files never have the origin of the web page.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use axum::http::{HeaderName, HeaderValue, Method, header};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::{
    cors::{AllowHeaders, AllowOrigin, Cors, CorsLayer, ExposeHeaders},
    set_header::{SetResponseHeader, SetResponseHeaderLayer},
};

/// Wait after a failed accept, which usually means that no file descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Where the data folder has the objects.
pub const FOLDER: &str = "s3";

type FileService = SetResponseHeader<Cors<S3Service>, HeaderValue>;

/// Starts a server for `folder` that runs until `shutdown`, and returns its address. Pages of `origins` may access it.
pub async fn serve(
    folder: &Path,
    listen: SocketAddr,
    (key_id, secret): (&str, &str),
    origins: &[String],
    shutdown: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    std::fs::create_dir_all(folder)?;
    let files = FileSystem::new(folder).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(key_id, secret));
    // Browsers must take files as what they were declared to be, and never guess.
    let nosniff = HeaderValue::from_static("nosniff");
    let nosniff = SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let layers = tower::ServiceBuilder::new().layer(nosniff).layer(cors(origins));
    let service = layers.service(builder.build());
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("the S3 server cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        shutdown.run_until_cancelled(accept_connections(listener, service)).await;
    });
    Ok(address)
}

/// The files of an object, relative to the server's folder: its content, and what s3s-fs keeps about it.
pub fn files_of(bucket: &str, key: &str) -> [PathBuf; 3] {
    let [bucket_name, key_name] = [bucket, key].map(|name| BASE64_URL_SAFE_NO_PAD.encode(name));
    [
        Path::new(bucket).join(key),
        format!(".bucket-{bucket_name}.object-{key_name}.metadata.json").into(),
        format!(".bucket-{bucket_name}.object-{key_name}.internal.json").into(),
    ]
}

async fn accept_connections(listener: TcpListener, service: FileService) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(stream);
                    if let Err(error) = server.serve_connection(io, service).await {
                        tracing::debug!(%error, "a connection to the S3 server failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the S3 server cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::HEAD, Method::PUT])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list([
            header::ETAG,
            HeaderName::from_static("x-amz-checksum-sha256"),
        ]))
        .max_age(service::cors::MAX_AGE)
}
