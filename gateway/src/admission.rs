//! How many sockets an address and a user have on this gateway.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use protocol::UserId;

/// Whose sockets are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Address(IpAddr),
    User(UserId),
}

impl Owner {
    /// An address; of IPv6 the network that one customer gets (RFC 6177), not one of its 2^64 hosts.
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(network).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// See the module. Holds an entry for those only who have a socket.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<Mutex<HashMap<Owner, usize>>>);

/// A socket that is counted until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Admission,
    owner: Owner,
}

impl Admission {
    /// Counts one more socket; none if that is more than `limit`.
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
