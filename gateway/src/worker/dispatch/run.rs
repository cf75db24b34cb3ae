//! The loop that runs a worker.

use std::{rc::Rc, time::Duration};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::{SharedWorker, Worker};
use crate::{command::WorkerInbox, worker::context::Context};

/// Maximum number of commands handled before sockets are flushed: more would delay the first ones.
const TURN: usize = 64;
/// How often unsent commands are retried, the end of a drain is checked and gauges are set.
const TICK: Duration = Duration::from_millis(500);

/// Runs a worker until all its sockets are drained, or the gateway is dropped.
pub async fn run(index: usize, context: Context, mut inbox: WorkerInbox) {
    let wake = Rc::new(Notify::new());
    let (health, budget) = (context.health.clone(), context.budget.clone());
    let worker = Worker::new(index, context, wake.clone());
    let flush = flush_each_turn(worker.clone(), wake).map(Ok);
    tokio::task::spawn_local(health.supervise(format!("the writer of worker {index}"), flush));
    let depth = metrics::gauge!("chat_gateway_inbox_commands", "worker" => index.to_string());
    let used = metrics::gauge!("chat_gateway_memory_used_bytes");
    let drain = metrics::gauge!("chat_gateway_drain_seconds");
    let mut tick = tokio::time::interval(TICK);
    let mut turn = Vec::with_capacity(TURN);
    loop {
        let next = worker.borrow().timers.next();
        tokio::select! {
            count = inbox.recv_many(&mut turn, TURN) => {
                if count == 0 {
                    return;
                }
                let mut worker = worker.borrow_mut();
                turn.drain(..).for_each(|command| worker.on_command(command));
            }
            () = service::time::sleep_until(next) => worker.borrow_mut().on_timers(),
            _ = tick.tick() => {
                depth.set(inbox.len() as f64);
                used.set(budget.used() as f64);
                let mut worker = worker.borrow_mut();
                if let Some(draining) = &worker.draining {
                    drain.set(draining.lasts().as_secs_f64());
                }
                worker.rooms.link().retry();
            }
        }
        if worker.borrow_mut().is_drained() {
            return;
        }
        // Under load the inbox may never be empty, but readers and the flush must run too.
        tokio::task::yield_now().await;
    }
}

/// Flushes the sockets at the end of every turn of the thread's scheduler, so that all frames that became ready
/// for a socket in the turn are sent with one write.
async fn flush_each_turn(worker: SharedWorker, wake: Rc<Notify>) {
    loop {
        wake.notified().await;
        worker.borrow_mut().flush();
    }
}
