//! The workers' threads.

use futures_util::FutureExt as _;
use service::high_water::HighWater;
use tokio::{runtime::Handle, sync::oneshot, task::LocalSet};

use super::{context::Context, dispatch};
use crate::{
    bus::Bus, command::WorkerInbox, config::Config, health::Health, subscriptions::Subscriptions,
};

/// Starts one thread per inbox. Each has its own connections to NATS, so that publishing, acknowledgements and
/// a room's events involve no other thread.
pub async fn start_threads(
    inboxes: Vec<WorkerInbox>,
    config: &Config,
    health: &Health,
    high_water: &HighWater,
) -> anyhow::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for (index, inbox) in inboxes.into_iter().enumerate() {
        let (health, high_water) = (health.clone(), high_water.clone());
        threads.push(Thread::start(index, inbox, config.clone(), health, high_water).await?);
    }
    Ok(threads)
}

/// The thread of a worker that is not serving yet.
pub struct Thread {
    pub runtime: Handle,
    pub bus: Bus,
    pub subscriptions: Subscriptions,
    context: oneshot::Sender<Context>,
    drained: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

/// A worker that is serving. Its thread ends when this is dropped.
pub struct Running {
    drained: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl Thread {
    async fn start(
        index: usize,
        inbox: WorkerInbox,
        config: Config,
        health: Health,
        high_water: HighWater,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (connected, bus) = oneshot::channel();
        let (context, begin) = oneshot::channel();
        let (ended, drained) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let serve = async {
                    let bus = Bus::connect(&config, high_water).await;
                    let subscribed =
                        |bus| (bus, Subscriptions::start(config.nats.clone(), config.shards));
                    // The receiver is gone only if the gateway could not start.
                    let _ = connected.send(bus.map(subscribed));
                    if let Ok(context) = begin.await {
                        let run = dispatch::run::run(index, context, inbox).map(Ok);
                        health.supervise(format!("worker {index}"), run).await;
                    }
                    let _ = ended.send(());
                    // Room tasks on this thread also serve sockets of other workers, so it runs until all are
                    // released.
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = serve => {}
                    _ = released => {}
                }
            });
        })?;
        let (bus, subscriptions) = bus.await??;
        Ok(Self { runtime: handle, bus, subscriptions, context, drained, release })
    }

    /// Starts serving.
    pub fn run(self, context: Context) -> Running {
        // The receiver is gone only if the thread panicked, which [`Health`] reports.
        let _ = self.context.send(context);
        Running { drained: self.drained, _release: self.release }
    }
}

impl Running {
    /// Resolves once no socket is left, and at once if called again.
    pub async fn drained(&mut self) {
        if !self.drained.is_terminated() {
            // [`Health`] reports whether the worker failed.
            let _ = (&mut self.drained).await;
        }
    }
}
