//! `uploads` as an AWS Lambda function, invoked by the storage for every object that was created.

use std::process::ExitCode;

use aws_lambda_events::s3::S3Event;
use lambda_runtime::{Error, LambdaEvent, Runtime, layers::TracingLayer, service_fn};
use service::{
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
};
use store::{aws::Environment, pause::Pause};
use tower::util::ThenLayer;
use uploads::{Config, Uploads};

fn main() -> ExitCode {
    serve::run(run())
}

async fn run() -> anyhow::Result<()> {
    let (config, telemetry) = Environment::load().await?.read(|env| {
        let telemetry = TelemetryConfig::from_env(env);
        Some((Config::from_env(env)?, telemetry))
    })?;
    let shutdown = serve::shutdown_on_signal()?;
    telemetry::start(&[Part::Functions], &telemetry, telemetry::USUAL, shutdown.clone()).await?;
    let (uploads, pause) = (Uploads::open(&config).await?, Pause::default());
    let (uploads, pause) = (&uploads, &pause);
    let handler = service_fn(|event: LambdaEvent<S3Event>| async move {
        pause.end(uploads.store()).await;
        let handled = uploads.handle(event.payload).await;
        pause.begin(uploads.store()).await;
        handled.map_err(|error| Error::from(format!("{error:#}")))
    });
    let runtime = Runtime::new(handler).layer(TracingLayer::new());
    let runtime = runtime.layer(ThenLayer::new(telemetry::flush_after));
    let served = shutdown.run_until_cancelled(runtime.run()).await;
    served.unwrap_or(Ok(())).map_err(|error| anyhow::anyhow!("the Lambda runtime: {error}"))
}
