//! Fair queue of requests that hash a password. Hashing is the most expensive operation that an anonymous client can
//! request, so its slots are shared: logins, sign-ups and requests of logged-in users have fixed shares, and within a
//! share client networks or users take turns. A flood of one kind or from one network delays itself only.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::UserId;
use service::client;
use tokio::sync::oneshot;

use crate::HashingBusy;

/// How long a request waits for a slot before it is refused.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Bound of one share's queue, per slot: as many as a usual machine serves in half of [`MAX_WAIT`]. In a full queue,
/// the newest request of the requester with the most requests is refused in favour of a requester with fewer. If no
/// requester has more, the new request is refused.
const QUEUED_PER_SLOT: usize = 100;
/// The order in which shares get slots while all of them have waiting requests. Logins get 4 of 6.
const ROTATION: [Share; 6] =
    [Share::Login, Share::Login, Share::SignUp, Share::Login, Share::Login, Share::User];

/// The client that a password is hashed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requester {
    /// The network of a client that logs in.
    Login(IpAddr),
    /// The network of a client that signs up.
    SignUp(IpAddr),
    /// A logged-in user, for room passwords and changes of the account.
    User(UserId),
}

#[derive(Debug, Clone, Copy)]
enum Share {
    Login,
    SignUp,
    User,
}

impl Requester {
    pub fn login(from: IpAddr) -> Self {
        Self::Login(client::network(from))
    }

    pub fn sign_up(from: IpAddr) -> Self {
        Self::SignUp(client::network(from))
    }

    fn share(self) -> Share {
        match self {
            Self::Login(_) => Share::Login,
            Self::SignUp(_) => Share::SignUp,
            Self::User(_) => Share::User,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Login(_) => "login",
            Self::SignUp(_) => "sign-up",
            Self::User(_) => "user",
        }
    }
}

/// A bounded number of slots and the queues for them. Cheap to clone.
#[derive(Clone)]
pub struct HashQueue(Arc<Inner>);

struct Inner {
    queues: Mutex<Queues>,
    /// Bound of each share's queue.
    queued_max: usize,
}

struct Queues {
    free_slots: usize,
    /// The index in [`ROTATION`] of the share that gets the next slot.
    next: usize,
    login: ShareQueue,
    sign_up: ShareQueue,
    user: ShareQueue,
}

/// The right to hash one password. When it is dropped, the next request gets it.
pub struct Slot(Option<HashQueue>);

impl HashQueue {
    pub fn new(slots: usize) -> Self {
        let queue = ShareQueue::default;
        let queues =
            Queues { free_slots: slots, next: 0, login: queue(), sign_up: queue(), user: queue() };
        let queued_max = slots.saturating_mul(QUEUED_PER_SLOT);
        Self(Arc::new(Inner { queues: Mutex::new(queues), queued_max }))
    }

    /// Waits for a slot. Fails if the queue is full or the wait times out.
    pub async fn slot(&self, requester: Requester) -> Result<Slot, HashingBusy> {
        self.wait(requester).await.ok_or_else(|| {
            let share = requester.label();
            metrics::counter!("chat_password_hashing_refused_total", "share" => share).increment(1);
            HashingBusy
        })
    }

    async fn wait(&self, requester: Requester) -> Option<Slot> {
        let granted = {
            let mut queues = self.lock();
            if queues.free_slots > 0 {
                queues.free_slots -= 1;
                return Some(Slot(Some(self.clone())));
            }
            queues.of(requester.share()).push(requester, self.0.queued_max)?
        };
        tokio::time::timeout(MAX_WAIT, granted).await.ok()?.ok()
    }

    fn pass_on(&self) {
        let mut queues = self.lock();
        while let Some(next) = queues.pop() {
            match next.send(Slot(Some(self.clone()))) {
                Ok(()) => return,
                // The request was abandoned in this moment. The slot is defused, because its drop would lock the
                // queues again.
                Err(mut slot) => slot.0 = None,
            }
        }
        queues.free_slots += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass_on();
        }
    }
}

impl Queues {
    fn of(&mut self, share: Share) -> &mut ShareQueue {
        match share {
            Share::Login => &mut self.login,
            Share::SignUp => &mut self.sign_up,
            Share::User => &mut self.user,
        }
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Slot>> {
        for _ in ROTATION {
            let share = ROTATION[self.next];
            self.next = (self.next + 1) % ROTATION.len();
            if let Some(request) = self.of(share).pop() {
                return Some(request);
            }
        }
        None
    }
}

/// The waiting requests of one share.
#[derive(Default)]
struct ShareQueue {
    /// Requesters with waiting requests, in the order of their turns.
    order: VecDeque<Requester>,
    requests: HashMap<Requester, VecDeque<oneshot::Sender<Slot>>>,
    /// Requests of all requesters, including abandoned ones that are not removed yet.
    count: usize,
}

impl ShareQueue {
    fn push(&mut self, requester: Requester, max: usize) -> Option<oneshot::Receiver<Slot>> {
        if self.count >= max {
            self.remove_abandoned();
        }
        if self.count >= max && !self.displace_for(requester) {
            return None;
        }
        let (grant, granted) = oneshot::channel();
        let requests = self.requests.entry(requester).or_default();
        if requests.is_empty() {
            self.order.push_back(requester);
        }
        requests.push_back(grant);
        self.count += 1;
        Some(granted)
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Slot>> {
        while let Some(requester) = self.order.pop_front() {
            let Some(requests) = self.requests.get_mut(&requester) else { continue };
            let before = requests.len();
            let first =
                std::iter::from_fn(|| requests.pop_front()).find(|first| !first.is_closed());
            self.count -= before - requests.len();
            if requests.is_empty() {
                self.requests.remove(&requester);
            } else {
                self.order.push_back(requester);
            }
            if first.is_some() {
                return first;
            }
        }
        None
    }

    /// Refuses the newest request of the requester with the most requests, if those are more than `requester` would
    /// have with the new one. Returns whether one was refused.
    fn displace_for(&mut self, requester: Requester) -> bool {
        let own = self.requests.get(&requester).map_or(0, VecDeque::len);
        let longest = self.requests.values_mut().max_by_key(|requests| requests.len());
        let Some(longest) = longest.filter(|longest| longest.len() > own + 1) else { return false };
        longest.pop_back();
        self.count -= 1;
        true
    }

    /// Removes requests that timed out or whose client disconnected.
    fn remove_abandoned(&mut self) {
        self.requests.retain(|_, requests| {
            requests.retain(|request| !request.is_closed());
            !requests.is_empty()
        });
        let requests = &self.requests;
        self.order.retain(|requester| requests.contains_key(requester));
        self.count = requests.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
#[path = "hash_queue_tests.rs"]
mod tests;
