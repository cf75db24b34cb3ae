//! The presence of a room: its users on all gateways. Without I/O: it collects changes, and returns them in
//! batches as messages for sockets and gateways.

use std::collections::{HashMap, HashSet};

use protocol::{UserId, event::Online, limits, stored::Person};

use crate::ephemeral::{GatewayId, Gossip};

/// Maximum number of users in one message between gateways, because NATS limits a message to 1 MiB.
const USERS_PER_MESSAGE: usize = 2_000;

/// A presence change for the room's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub count: usize,
    /// New users, and users with a new name.
    pub joined: Vec<Person>,
    pub left: Vec<Person>,
}

/// See the module.
#[derive(Debug)]
pub struct Presence {
    gateway: GatewayId,
    /// Each user's number of sockets on this gateway.
    local: HashMap<UserId, usize>,
    remote: HashMap<GatewayId, HashSet<UserId>>,
    /// All users, each with the number of gateways that they are on.
    online: HashMap<UserId, (Person, usize)>,
    /// Users that changed since the last [`Self::take_change`], with their state before the change.
    touched: HashMap<UserId, Option<Person>>,
    /// Users who joined or left on this gateway since the last [`Self::take_gossip`].
    announce: HashSet<UserId>,
}

impl Presence {
    /// A room without users. `gateway` is the id of this gateway.
    pub fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            local: HashMap::new(),
            remote: HashMap::new(),
            online: HashMap::new(),
            touched: HashMap::new(),
            announce: HashSet::new(),
        }
    }

    /// A socket of this gateway joined.
    pub fn enter(&mut self, person: Person) {
        let id = person.id;
        let sockets = self.local.entry(id).or_default();
        *sockets += 1;
        if *sockets == 1 {
            self.announce.insert(id);
            self.appear(person);
        }
    }

    /// A socket of this gateway left.
    pub fn leave(&mut self, user: UserId) {
        let Some(sockets) = self.local.get_mut(&user) else { return };
        *sockets -= 1;
        if *sockets == 0 {
            self.local.remove(&user);
            self.announce.insert(user);
            self.disappear(user);
        }
    }

    /// A user of this gateway has another name now.
    pub fn rename(&mut self, person: Person) {
        if self.local.contains_key(&person.id) {
            self.announce.insert(person.id);
            self.update_name(person);
        }
    }

    /// Applies a message from another gateway. True if it asks for this gateway's users.
    pub fn apply(&mut self, gossip: Gossip) -> bool {
        match gossip {
            Gossip::Ask { gateway } => return gateway != self.gateway,
            Gossip::All { gateway, .. } | Gossip::Change { gateway, .. }
                if gateway == self.gateway => {}
            Gossip::All { gateway, first, users } => {
                if first {
                    self.remove_gateway(gateway);
                }
                self.remote_joined(gateway, users);
            }
            Gossip::Change { gateway, joined, left } => {
                self.remote_joined(gateway, joined);
                for user in left {
                    if self.remote.get_mut(&gateway).is_some_and(|users| users.remove(&user)) {
                        self.disappear(user);
                    }
                }
            }
        }
        false
    }

    /// Removes the users of a gateway that stopped or failed.
    pub fn remove_gateway(&mut self, gateway: GatewayId) {
        for user in self.remote.remove(&gateway).unwrap_or_default() {
            self.disappear(user);
        }
    }

    fn remote_joined(&mut self, gateway: GatewayId, users: Vec<Person>) {
        for person in users {
            if self.remote.entry(gateway).or_default().insert(person.id) {
                self.appear(person);
            } else {
                self.update_name(person);
            }
        }
    }

    fn touch(&mut self, user: UserId) {
        let before = self.online.get(&user).map(|(person, _)| person.clone());
        self.touched.entry(user).or_insert(before);
    }

    fn appear(&mut self, person: Person) {
        self.touch(person.id);
        self.online.entry(person.id).or_insert((person, 0)).1 += 1;
    }

    fn disappear(&mut self, user: UserId) {
        self.touch(user);
        if let Some((_, gateways)) = self.online.get_mut(&user) {
            *gateways -= 1;
            if *gateways == 0 {
                self.online.remove(&user);
            }
        }
    }

    fn update_name(&mut self, person: Person) {
        self.touch(person.id);
        if let Some((known, _)) = self.online.get_mut(&person.id) {
            known.name = person.name;
        }
    }

    /// The number of users.
    pub fn count(&self) -> usize {
        self.online.len()
    }

    /// The number of users, and some of them.
    pub fn online(&self) -> Online {
        let users = self.online.values().take(limits::ONLINE_USERS_LISTED);
        Online {
            count: self.online.len(),
            users: users.map(|(person, _)| person.clone()).collect(),
        }
    }

    /// Returns those of `users` who are online in the room.
    pub fn online_among(&self, users: &[UserId]) -> Vec<UserId> {
        users.iter().filter(|user| self.online.contains_key(user)).copied().collect()
    }

    /// Whether there are changes to send.
    pub fn is_changed(&self) -> bool {
        !self.touched.is_empty() || !self.announce.is_empty()
    }

    /// Takes the changes for the room's sockets. Users who joined and left again in the meantime are not
    /// included.
    pub fn take_change(&mut self) -> Option<Change> {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for (user, before) in std::mem::take(&mut self.touched) {
            match (before, self.online.get(&user)) {
                (None, Some((now, _))) => joined.push(now.clone()),
                (Some(before), Some((now, _))) if before != *now => joined.push(now.clone()),
                (Some(before), None) => left.push(before),
                _ => {}
            }
        }
        if joined.is_empty() && left.is_empty() {
            return None;
        }
        joined.truncate(limits::ONLINE_USERS_LISTED);
        left.truncate(limits::ONLINE_USERS_LISTED);
        Some(Change { count: self.online.len(), joined, left })
    }

    /// Takes the changes for the other gateways.
    pub fn take_gossip(&mut self) -> Vec<Gossip> {
        let announced: Vec<UserId> = std::mem::take(&mut self.announce).into_iter().collect();
        let to_gossip = |users: &[UserId]| {
            let (here, left): (Vec<_>, Vec<_>) =
                users.iter().copied().partition(|user| self.local.contains_key(user));
            Gossip::Change { gateway: self.gateway, joined: self.persons(&here), left }
        };
        announced.chunks(USERS_PER_MESSAGE).map(to_gossip).collect()
    }

    /// The answer to [`Gossip::Ask`]: all users of this gateway.
    pub fn all(&self) -> Vec<Gossip> {
        let users: Vec<UserId> = self.local.keys().copied().collect();
        let to_gossip = |(index, users): (usize, &[UserId])| Gossip::All {
            gateway: self.gateway,
            first: index == 0,
            users: self.persons(users),
        };
        users.chunks(USERS_PER_MESSAGE).enumerate().map(to_gossip).collect()
    }

    fn persons(&self, users: &[UserId]) -> Vec<Person> {
        users.iter().filter_map(|user| self.online.get(user)).map(|(p, _)| p.clone()).collect()
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
