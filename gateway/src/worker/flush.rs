//! The queue of sockets and rooms to flush at the end of the thread's current turn.

use std::rc::Rc;

use tokio::sync::Notify;

/// A queue of marked items. The mark is stored with the item, so that each item is queued once.
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

    /// Takes all items. The caller clears the mark of each item when it flushes it.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.queue)
    }
}
