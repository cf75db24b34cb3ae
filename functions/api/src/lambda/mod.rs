//! Runs a function on AWS Lambda, behind API Gateway, a load balancer or a function URL.
//!
//! Lambda freezes the process between two invocations, for milliseconds or for minutes. So nothing runs in the
//! background: an invocation ends when its work is done and every connection is idle, and one that begins after a pause
//! checks the connections first.

mod event;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderValue},
    middleware::map_request,
};
use lambda_http::{
    Adapter, Error, LambdaEvent, Service as _,
    lambda_runtime::{Runtime, layers::TracingLayer, service_fn},
    request::RequestContext,
};
use serde::Serialize;
use serde_json::value::RawValue;
use service::{
    client,
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
    trace,
};
use store::{aws::Environment, pause::Pause};
use tower::util::ThenLayer;

use self::event::Event;
use crate::{AppState, Config, Site, function::Function};

/// How much longer than its answer an invocation may last for the comparison of the streams with the database.
const COMPARE_LATE: Duration = Duration::from_millis(50);

/// Serves a function's events from the Lambda runtime.
pub async fn run(function: Function) -> anyhow::Result<()> {
    let environment = Environment::load().await?;
    let shutdown = serve::shutdown_on_signal()?;
    let telemetry = environment.read(|env| Some(TelemetryConfig::from_env(env)))?;
    telemetry::start(&[Part::Functions], &telemetry, telemetry::USUAL, shutdown.clone()).await?;
    let handler = match function.needs() {
        None => Handler::of_pages(&environment.read(Site::from_env)?),
        Some(needs) => {
            let config = environment.read(|env| Config::for_function(env, needs))?;
            let state = AppState::open(config, shutdown.clone()).await?;
            Handler::of_resource(function, state)
        }
    };
    let handler = &handler;
    let answer = service_fn(move |event: LambdaEvent<Box<RawValue>>| handler.answer(event));
    let runtime = Runtime::new(answer).layer(TracingLayer::new());
    let runtime = runtime.layer(ThenLayer::new(telemetry::flush_after));
    tokio::select! {
        result = runtime.run() => {
            result.map_err(|error| anyhow::anyhow!("Lambda runtime: {error}"))
        }
        () = shutdown.cancelled() => Ok(()),
    }
}

/// Answers the events of one function.
struct Handler {
    router: Router,
    /// Answers requests whose address is invalid.
    refusal: Router,
    /// The path of `PUBLIC_URL`.
    base: String,
    /// `None` if the function has no connections.
    connections: Option<(AppState, Pause)>,
}

impl Handler {
    fn of_pages(site: &Site) -> Self {
        Self {
            router: crate::pages(site.clone()).layer(map_request(with_peer)),
            refusal: crate::refusal(site),
            base: site.base_path().to_owned(),
            connections: None,
        }
    }

    fn of_resource(function: Function, state: AppState) -> Self {
        let site = &state.config.site;
        // Connects while Lambda initialises the process.
        let connecting = state.clone();
        tokio::spawn(async move { connecting.compare_streams().await });
        Self {
            router: crate::function(function, state.clone()).layer(map_request(with_peer)),
            refusal: crate::refusal(site),
            base: site.base_path().to_owned(),
            connections: Some((state, Pause::default())),
        }
    }

    async fn answer(&self, event: LambdaEvent<Box<RawValue>>) -> Result<impl Serialize, Error> {
        let LambdaEvent { payload, context } = event;
        let (router, request) = match event::read(&payload, &self.base)? {
            Event::Request(request) => (self.router.clone(), request),
            Event::Invalid(request) => (self.refusal.clone(), request),
        };
        let mut adapter = Adapter::from(router);
        let answering = adapter.call(LambdaEvent::new(request, context));
        let Some((state, pause)) = &self.connections else { return Ok(answering.await?) };
        pause.end(&state.store).await;
        let (mut answering, mut comparing) =
            (pin!(answering), pin!(state.compare_streams_if_due()));
        let answer = tokio::select! {
            answer = &mut answering => {
                // While NATS or the database is away, a comparison takes longer than most answers.
                let _ = tokio::time::timeout(COMPARE_LATE, comparing).await;
                answer
            }
            () = &mut comparing => answering.await,
        };
        pause.begin(&state.store).await;
        Ok(answer?)
    }
}

/// Continues AWS X-Ray's trace, unless the client sent a context.
fn continue_trace(headers: &mut HeaderMap) {
    let header = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    let parent = header.and_then(trace::parse_xray).map(|parent| parent.to_string());
    if let Some(Ok(value)) = parent.map(HeaderValue::try_from) {
        headers.entry("traceparent").or_insert(value);
    }
}

/// Adds the client's address as [`ConnectInfo`], which a server takes from the connection.
async fn with_peer(mut request: Request) -> Request {
    continue_trace(request.headers_mut());
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
