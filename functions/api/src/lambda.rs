//! The same routers as AWS Lambda functions.
//!
//! Behind an API Gateway stage other than `$default`, or a REST API, set
//! `AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH=true`: the stage's name would stand in front of every path.
//! Addresses have no trailing slash, here as everywhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request},
    middleware::map_request,
};
use lambda_http::request::RequestContext;
use service::{client, env::Env, serve, telemetry};
use utoipa_axum::router::OpenApiRouter;

use crate::{AppState, Config};

/// Serves one resource to the Lambda runtime, behind API Gateway, a load balancer or a function URL.
pub async fn run(resource: OpenApiRouter<AppState>) -> anyhow::Result<()> {
    let config = Env::of_process(Config::from_env)?;
    let shutdown = serve::shutdown_on_signal()?;
    telemetry::start(telemetry::USUAL, shutdown.clone()).await?;
    let state = AppState::open(config, shutdown.clone()).await?;
    let router = crate::function(resource, state).layer(map_request(with_peer));
    tokio::select! {
        result = lambda_http::run(router) => {
            result.map_err(|error| anyhow::anyhow!("the Lambda runtime: {error}"))
        }
        () = shutdown.cancelled() => Ok(()),
    }
}

/// Who asked API Gateway or the load balancer, where a server would know its connection's peer.
async fn with_peer(mut request: Request) -> Request {
    let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let asked_by = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        Some(RequestContext::ApiGatewayV1(context)) => context.identity.source_ip.as_deref(),
        // A load balancer says it in the header alone, at the end.
        _ => None,
    };
    let address: Option<IpAddr> = asked_by.and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| client::address(request.headers(), nobody, 1));
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 0)));
    request
}
