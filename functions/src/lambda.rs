//! The same routers as AWS Lambda functions.
//!
//! Behind an API Gateway stage other than `$default`, or a REST API, set
//! `AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH=true`: the stage's name would stand in front of every path.
//! Addresses have no trailing slash, here as everywhere.

use service::{env::Env, serve, telemetry};
use utoipa_axum::router::OpenApiRouter;

use crate::{Config, State};

/// Serves one resource to the Lambda runtime, behind API Gateway, a load balancer or a function URL.
pub async fn run(resource: OpenApiRouter<State>) -> anyhow::Result<()> {
    let config = Env::of_process(Config::from_env)?;
    let shutdown = serve::shutdown_on_signal()?;
    telemetry::start(telemetry::USUAL, shutdown.clone()).await?;
    let state = State::connect(config, shutdown.clone()).await?;
    let router = crate::function(resource, state);
    tokio::select! {
        result = lambda_http::run(router) => {
            result.map_err(|error| anyhow::anyhow!("the Lambda runtime: {error}"))
        }
        () = shutdown.cancelled() => Ok(()),
    }
}
