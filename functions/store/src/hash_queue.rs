//! Whose password is hashed next. Hashing is the most expensive thing an anonymous client can ask for, so its
//! slots are shared out: between logins, sign-ups and requests of logged-in users by fixed shares, and within
//! each of these in turn between client networks or users. A flood of one kind or from one place delays itself.

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
const WAIT_AT_MOST: Duration = Duration::from_secs(5);
/// Requests of one share that wait, per slot: as many as are served in half of that time on a usual machine.
/// When they are that many, the newest request of the client with the most of them makes room for a client with
/// fewer; where nobody has more, the new one is refused.
const WAITING_PER_SLOT: usize = 100;
/// Which share gets the next slot while all of them have requests waiting: logins 4 of 6.
const ROTATION: [Share; 6] =
    [Share::Login, Share::Login, Share::SignUp, Share::Login, Share::Login, Share::User];

/// For whom a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requester {
    /// Somebody who logs in, known by their network.
    Login(IpAddr),
    /// Somebody who signs up, known by their network.
    SignUp(IpAddr),
    /// A logged-in user: room passwords, changes of the account.
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

/// A bounded number of slots and the queues for them; cheap to clone.
#[derive(Clone)]
pub struct HashQueue(Arc<Inner>);

struct Inner {
    queues: Mutex<Queues>,
    waiting_max: usize,
}

struct Queues {
    free_slots: usize,
    /// The next place in [`ROTATION`].
    next: usize,
    login: Waiting,
    sign_up: Waiting,
    user: Waiting,
}

/// The right to hash one password. Dropped, it goes to the next request.
pub struct Slot(Option<HashQueue>);

impl HashQueue {
    pub fn new(slots: usize) -> Self {
        let waiting = Waiting::default;
        let queues = Queues {
            free_slots: slots,
            next: 0,
            login: waiting(),
            sign_up: waiting(),
            user: waiting(),
        };
        let waiting_max = slots.saturating_mul(WAITING_PER_SLOT);
        Self(Arc::new(Inner { queues: Mutex::new(queues), waiting_max }))
    }

    /// Waits for a slot; fails if there are too many requests before this one.
    pub async fn slot(&self, requester: Requester) -> Result<Slot, HashingBusy> {
        self.wait(requester).await.ok_or_else(|| {
            let share = requester.label();
            metrics::counter!("password_hashing_refused_total", "share" => share).increment(1);
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
            queues.of(requester.share()).push(requester, self.0.waiting_max)?
        };
        tokio::time::timeout(WAIT_AT_MOST, granted).await.ok()?.ok()
    }

    fn pass_on(&self) {
        let mut queues = self.lock();
        while let Some(next) = queues.pop() {
            match next.send(Slot(Some(self.clone()))) {
                Ok(()) => return,
                // The request was given up in this moment. Its slot must not be passed on by being dropped: that
                // would lock the queues again.
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
    fn of(&mut self, share: Share) -> &mut Waiting {
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
            if let Some(waiting) = self.of(share).pop() {
                return Some(waiting);
            }
        }
        None
    }
}

/// The requests of one share.
#[derive(Default)]
struct Waiting {
    /// Requesters with a request waiting, the next one first.
    order: VecDeque<Requester>,
    requests: HashMap<Requester, VecDeque<oneshot::Sender<Slot>>>,
    count: usize,
}

impl Waiting {
    fn push(&mut self, requester: Requester, max: usize) -> Option<oneshot::Receiver<Slot>> {
        if self.count >= max {
            self.remove_abandoned();
        }
        if self.count >= max && !self.make_room_for(requester) {
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

    /// Drops the newest request of whoever has the most, if that is more than `requester` would have.
    fn make_room_for(&mut self, requester: Requester) -> bool {
        let own = self.requests.get(&requester).map_or(0, VecDeque::len);
        let longest = self.requests.values_mut().max_by_key(|requests| requests.len());
        let Some(longest) = longest.filter(|longest| longest.len() > own + 1) else { return false };
        longest.pop_back();
        self.count -= 1;
        true
    }

    /// Requests that timed out or whose connection closed.
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
