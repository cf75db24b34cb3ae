use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;

use super::*;

fn address(n: u32) -> IpAddr {
    IpAddr::from(std::net::Ipv4Addr::from_bits(n))
}

type WaitingRequest = (Requester, Pin<Box<dyn Future<Output = Option<Slot>>>>);

/// A queue with its waiting requests.
struct Requests {
    queue: HashQueue,
    waiting: Vec<WaitingRequest>,
}

impl Requests {
    /// A queue with one slot, which is taken.
    fn new() -> (Self, Slot) {
        let queue = HashQueue::new(1);
        let slot = Slot(Some(queue.clone()));
        queue.lock().free_slots = 0;
        (Self { queue, waiting: Vec::new() }, slot)
    }

    /// Adds a request. Returns whether it waits.
    fn add(&mut self, requester: Requester) -> bool {
        let queue = self.queue.clone();
        let mut request: Pin<Box<dyn Future<Output = Option<Slot>>>> =
            Box::pin(async move { queue.slot(requester).await.ok() });
        let waits = poll(&mut request).is_pending();
        if waits {
            self.waiting.push((requester, request));
        }
        waits
    }

    /// Drops the slot. Returns the request that gets it.
    fn next(&mut self, slot: Slot) -> Option<(Requester, Slot)> {
        drop(slot);
        let mut found = None;
        self.waiting.retain_mut(|(requester, request)| match poll(request) {
            Poll::Ready(Some(slot)) => {
                found = Some((*requester, slot));
                false
            }
            Poll::Ready(None) => false,
            Poll::Pending => true,
        });
        found
    }

    /// The requesters of the next `count` requests that get the slot.
    fn served(&mut self, mut slot: Slot, count: usize) -> Vec<Requester> {
        let mut served = Vec::new();
        for _ in 0..count {
            let Some((requester, next)) = self.next(slot) else { return served };
            served.push(requester);
            slot = next;
        }
        served
    }
}

fn poll<T>(request: &mut Pin<Box<dyn Future<Output = T>>>) -> Poll<T> {
    request.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn logins_get_four_of_six_slots_while_all_shares_wait() {
    let (mut requests, slot) = Requests::new();
    for n in 0..40 {
        requests.add(Requester::sign_up(address(n)));
        requests.add(Requester::User(UserId::generate()));
        requests.add(Requester::login(address(n)));
    }
    let served = requests.served(slot, 30);
    let count = |share: fn(&Requester) -> bool| served.iter().filter(|one| share(one)).count();
    assert_eq!(count(|one| matches!(one, Requester::Login(_))), 20);
    assert_eq!(count(|one| matches!(one, Requester::SignUp(_))), 5);
    assert_eq!(count(|one| matches!(one, Requester::User(_))), 5);
}

#[tokio::test]
async fn one_network_does_not_delay_another() {
    let (mut requests, slot) = Requests::new();
    for _ in 0..QUEUED_PER_SLOT {
        requests.add(Requester::login(address(1)));
    }
    // The queue is full now.
    requests.add(Requester::login(address(2)));
    requests.add(Requester::login(address(3)));
    let served = requests.served(slot, 3);
    assert_eq!(served, [1, 2, 3].map(|n| Requester::login(address(n))));
}

#[tokio::test]
async fn a_full_queue_refuses_a_request_at_once() {
    let (mut requests, slot) = Requests::new();
    for n in 0..QUEUED_PER_SLOT as u32 {
        requests.add(Requester::sign_up(address(n)));
    }
    assert!(!requests.add(Requester::sign_up(address(1_000))));
    // Abandoned requests do not count.
    requests.waiting.truncate(1);
    assert!(requests.add(Requester::sign_up(address(1_000))));
    assert_eq!(requests.served(slot, 3).len(), 2);
    assert_eq!(requests.queue.lock().free_slots, 1);
}

proptest! {
    /// In any sequence of waiting, abandoning and serving, the number of slots is constant, and no requester is served
    /// twice while another one waits.
    #[test]
    fn no_slot_is_lost_and_requesters_take_turns(steps in prop::collection::vec((0..3_u32, 0..6_u32), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let (mut requests, slot) = Requests::new();
        let mut held = Some(slot);
        for (step, n) in steps {
            match step {
                0 => drop(requests.add(Requester::login(address(n)))),
                1 => {
                    let at = requests.waiting.iter().position(|(one, _)| *one == Requester::login(address(n)));
                    at.map(|at| requests.waiting.remove(at));
                }
                _ => {
                    let before: HashMap<_, usize> = requests.waiting.iter().fold(HashMap::new(), |mut all, (one, _)| {
                        *all.entry(*one).or_default() += 1;
                        all
                    });
                    held = match held.take() {
                        Some(slot) => requests.next(slot).map(|(_, slot)| slot),
                        None => None,
                    };
                    prop_assert_eq!(held.is_some(), !before.is_empty());
                    if held.is_none() {
                        prop_assert_eq!(requests.queue.lock().free_slots, 1);
                        requests.queue.lock().free_slots = 0;
                        held = Some(Slot(Some(requests.queue.clone())));
                    }
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        let all: std::collections::HashSet<_> = requests.waiting.iter().map(|(one, _)| *one).collect();
        let Some(slot) = held else { return Ok(()) };
        for requester in requests.served(slot, all.len()) {
            prop_assert!(seen.insert(requester), "{:?} was served twice", requester);
        }
    }
}
