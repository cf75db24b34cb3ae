use protocol::DisplayName;
use uuid::Uuid;

use super::*;

fn person(name: &str) -> Person {
    Person { id: UserId::generate(), name: DisplayName::parse(name).unwrap() }
}

#[test]
fn a_user_with_three_sockets_on_two_gateways_is_one_user() {
    let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut presence = Presence::new(here);
    let ada = person("Ada");
    presence.enter(ada.clone());
    presence.enter(ada.clone());
    presence.apply(Gossip::Change { gateway: there, joined: vec![ada.clone()], left: vec![] });
    let change = presence.take_change().unwrap();
    assert_eq!((change.count, change.joined), (1, vec![ada.clone()]));

    presence.leave(ada.id);
    presence.leave(ada.id);
    assert_eq!(presence.take_change(), None);
    assert_eq!(presence.online_among(&[UserId::generate(), ada.id]), [ada.id], "over there");
    presence.apply(Gossip::Change { gateway: there, joined: vec![], left: vec![ada.id] });
    let change = presence.take_change().unwrap();
    assert_eq!((change.count, change.left), (0, vec![ada.clone()]));
    assert!(presence.online_among(&[ada.id]).is_empty());
}

#[test]
fn a_lost_gateways_users_leave_and_a_new_list_replaces_the_old() {
    let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut presence = Presence::new(here);
    let (ada, bob) = (person("Ada"), person("Bob"));
    let all = |users| Gossip::All { gateway: there, first: true, users };
    presence.apply(all(vec![ada.clone()]));
    presence.apply(all(vec![bob.clone()]));
    assert_eq!(presence.take_change().unwrap().joined, vec![bob.clone()]);
    presence.remove_gateway(there);
    assert_eq!(presence.take_change().unwrap().left, vec![bob]);
    assert!(presence.take_gossip().is_empty());
}

#[test]
fn only_local_users_are_announced_and_own_messages_are_ignored() {
    let here = Uuid::from_u128(1);
    let mut presence = Presence::new(here);
    let ada = person("Ada");
    presence.enter(ada.clone());
    let gossip = presence.take_gossip();
    let expected = Gossip::Change { gateway: here, joined: vec![ada.clone()], left: vec![] };
    assert_eq!(gossip, vec![expected]);
    for echo in gossip {
        assert!(!presence.apply(echo));
    }
    assert!(presence.apply(Gossip::Ask { gateway: Uuid::from_u128(3) }));
    presence.leave(ada.id);
    assert_eq!(presence.online().count, 0);
}

#[test]
fn a_new_name_is_announced_once() {
    let mut presence = Presence::new(Uuid::from_u128(1));
    let mut ada = person("Ada");
    presence.enter(ada.clone());
    presence.take_change();
    ada.name = DisplayName::parse("에이다").unwrap();
    presence.rename(ada.clone());
    assert_eq!(presence.take_change().unwrap().joined, vec![ada]);
    assert_eq!(presence.take_change(), None);
}

#[test]
fn all_users_are_counted_and_some_are_listed() {
    let mut presence = Presence::new(Uuid::from_u128(1));
    let crowd: Vec<Person> = (0..250).map(|n| person(&format!("User {n}"))).collect();
    crowd.iter().cloned().for_each(|user| presence.enter(user));
    let came = presence.take_change().unwrap();
    assert_eq!((came.count, came.joined.len()), (250, limits::ONLINE_USERS_LISTED));
    crowd.iter().for_each(|user| presence.leave(user.id));
    let went = presence.take_change().unwrap();
    assert_eq!((went.count, went.left.len()), (0, limits::ONLINE_USERS_LISTED));
}
