//! The sockets and rooms that have something to flush when the current turn of the thread ends.

use std::rc::Rc;

use tokio::sync::Notify;

/// A queue of marked items. The mark itself is kept with the item, so that it is queued once.
#[derive(Debug)]
pub struct FlushQueue<T> {
    queue: Vec<T>,
    wake: Rc<Notify>,
}

impl<T> FlushQueue<T> {
    /// An empty queue. `wake` wakes the task that flushes.
    pub fn new(wake: Rc<Notify>) -> Self {
        Self { queue: Vec::new(), wake }
    }

    /// Queues an item unless it is marked, and marks it.
    pub fn add(&mut self, item: T, is_marked: &mut bool) {
        if std::mem::replace(is_marked, true) {
            return;
        }
        if self.queue.is_empty() {
            self.wake.notify_one();
        }
        self.queue.push(item);
    }

    /// Takes all items. Their marks are cleared as each of them is flushed.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.queue)
    }
}
