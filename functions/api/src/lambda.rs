//! Runs a resource's router as an AWS Lambda function.
//!
//! Behind a REST API, or an API Gateway stage other than `$default`, set `AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH=true`.
//! Otherwise every path starts with the stage's name, and no route matches.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request},
    middleware::map_request,
};
use lambda_http::{
    Adapter,
    lambda_runtime::{Runtime, layers::TracingLayer},
    request::RequestContext,
};
use service::{
    client,
    env::Env,
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
};
use tower::util::ThenLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::{AppState, Config};

/// Serves one resource to the Lambda runtime, behind API Gateway, a load balancer or a function URL.
pub async fn run(resource: OpenApiRouter<AppState>) -> anyhow::Result<()> {
    let (config, telemetry) = Env::of_process(|env| {
        let telemetry = TelemetryConfig::from_env(env);
        Some((Config::from_env(env)?, telemetry))
    })?;
    let shutdown = serve::shutdown_on_signal()?;
    telemetry::start(&[Part::Functions], &telemetry, telemetry::USUAL, shutdown.clone()).await?;
    let state = AppState::open(config, shutdown.clone()).await?;
    let router = crate::function(resource, state).layer(map_request(with_peer));
    let runtime = Runtime::new(Adapter::from(router)).layer(TracingLayer::new());
    let runtime = runtime.layer(ThenLayer::new(telemetry::flush_after));
    tokio::select! {
        result = runtime.run() => {
            result.map_err(|error| anyhow::anyhow!("Lambda runtime: {error}"))
        }
        () = shutdown.cancelled() => Ok(()),
    }
}

/// Adds the client's address as [`ConnectInfo`], which a server takes from the connection.
async fn with_peer(mut request: Request) -> Request {
    let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let source_ip = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        Some(RequestContext::ApiGatewayV1(context)) => context.identity.source_ip.as_deref(),
        // A load balancer appends it to `X-Forwarded-For` and passes it on nowhere else.
        _ => None,
    };
    let address: Option<IpAddr> = source_ip.and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| client::address(request.headers(), unknown, 1));
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 0)));
    request
}
