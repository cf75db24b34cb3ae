//! Counters of open connections, requests or sockets by address or user, in this process.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use protocol::UserId;

use crate::client;

/// The key of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Address(IpAddr),
    User(UserId),
}

impl Owner {
    /// The owner for a client's address: all addresses of its network ([`client::network`]) share one counter.
    pub fn address(address: IpAddr) -> Self {
        Self::Address(client::network(address))
    }
}

/// The counters. An owner without anything open takes no memory.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<Mutex<HashMap<Owner, usize>>>);

/// A guard that counts as open until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Admission,
    owner: Owner,
}

impl Admission {
    /// Counts one more, or returns `None` if the owner has `limit` open.
    pub fn admit(&self, owner: Owner, limit: usize) -> Option<Admitted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(owner).or_default();
        if *count >= limit {
            if limit == 0 {
                counts.remove(&owner);
            }
            return None;
        }
        *count += 1;
        Some(Admitted { admission: self.clone(), owner })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_has_its_limit_and_leaves_nothing_behind() {
        let admission = Admission::default();
        let address = |text: &str| Owner::address(text.parse().unwrap());
        let first = admission.admit(address("192.0.2.1"), 2).unwrap();
        let second = admission.admit(address("::ffff:192.0.2.1"), 2).unwrap();
        assert!(admission.admit(address("192.0.2.1"), 2).is_none());
        assert!(admission.admit(address("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(admission.admit(address("192.0.2.1"), 2).is_some());
        drop(second);
        assert!(admission.0.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_owner() {
        let owner = |text: &str| Owner::address(text.parse().unwrap());
        assert_eq!(owner("2001:db8:1:2::1"), owner("2001:db8:1:2:ffff::9"));
        assert_ne!(owner("2001:db8:1:2::1"), owner("2001:db8:1:3::1"));
    }
}
