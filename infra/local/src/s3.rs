//! An S3 server over a folder, on an address of its own: what somebody uploaded must never run in
//! the origin of the page.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use axum::http::{HeaderName, HeaderValue, Method, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

/// Serves `folder` until `shutdown`; returns the address. Pages of `origins` may upload.
pub async fn serve(
    folder: &Path,
    listen: SocketAddr,
    (key, secret): (&str, &str),
    origins: &[String],
    shutdown: CancellationToken,
) -> anyhow::Result<SocketAddr> {
    std::fs::create_dir_all(folder)?;
    let files = FileSystem::new(folder).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(key, secret));
    let service = tower::ServiceBuilder::new().layer(cors(origins)).service(builder.build());
    let listener = TcpListener::bind(listen).await.context("the S3 server cannot listen")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let connections = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let service = TowerToHyperService::new(service.clone());
                        let io = TokioIo::new(stream);
                        tokio::spawn(async move {
                            let served = Builder::new(TokioExecutor::new());
                            if let Err(error) = served.serve_connection(io, service).await {
                                tracing::debug!(%error, "a connection to the S3 server broke");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the S3 server cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(connections).await;
    });
    Ok(address)
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
        .max_age(CORS_MAX_AGE)
}
