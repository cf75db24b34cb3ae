//! Rate limits, refresh and revocation of a session.

use super::*;

#[test]
fn the_rate_refills_with_time() {
    let world = World::new();
    let mut session = world.session();
    let burst = world.rules.limits.event_burst as usize;
    let allowed = (0..burst + 5).filter(|_| session.allow("send-msg", world.now).is_ok()).count();
    assert_eq!(allowed, burst);
    let later = world.now + Duration::from_millis(101);
    assert!(session.allow("read", later).is_ok() && session.allow("", later).is_ok());
    assert_eq!(session.allow("typing", later).unwrap_err().code, Code::RateLimited);
    // Joins have a separate limit, which follows from the room limit.
    let joins = (0..200).filter(|_| session.allow("join-room", later).is_ok()).count();
    assert_eq!(joins, burst.max(2 * world.rules.limits.rooms_per_socket));
    assert_eq!(session.allow("leave-room", later).unwrap_err().code, Code::RateLimited);
}

#[test]
fn a_session_ends_by_revocation_and_is_refreshed_by_its_own_user_only() {
    let world = World::new();
    let mut session = world.session();
    let other = world.session();
    let exp = Timestamp::now().unix() + 600;
    let foreign = Access { exp, ..other.access.clone() };
    assert_eq!(session.refresh(Ok(foreign), world.now).unwrap_err().code, Code::WrongUser);
    let own = Access { exp, ..session.access.clone() };
    assert!(session.refresh(Ok(own.clone()), world.now).is_ok());
    assert_eq!(session.expires(), exp);
    world.rules.revoked.insert(Revocation::Over(Revoked::Session(own.session)));
    assert_eq!(session.refresh(Ok(own.clone()), world.now).unwrap_err().code, Code::SessionRevoked);
    let refused = Session::new(own, world.rules.clone(), world.now).err().unwrap();
    assert_eq!(refused.code, Code::SessionRevoked);
}
