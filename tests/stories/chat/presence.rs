//! Presence: which users are online in a room.

use std::collections::HashSet;

use protocol::{RoomId, UserId, presence::PresenceQuery};
use serde_json::json;
use service::presence;
use stories::{System, eventually, stories};

stories! {
    async fn joins_and_leaves_are_shown_across_gateways(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let (mut a, joined) = ada.join(&first, "lobby").await;
        assert_eq!(joined["online"]["users"], json!([{ "id": ada.id, "name": "ada" }]));
        let (b, joined) = bob.join(&second, "lobby").await;
        assert_eq!(joined["online"]["count"], 2, "the other gateway was asked");
        let came =
            a.expect_where("presence", |data| data["joined"][0]["id"] == json!(bob.id)).await;
        assert_eq!(came["count"], 2);
        drop(b);
        let left =
            a.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        assert_eq!(
            (&left["left"], &left["count"]),
            (&json!([{ "id": bob.id, "name": "bob" }]), &json!(1))
        );
    }

    async fn a_user_with_several_sockets_is_one_user(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (here, _) = bob.join(&first, "lobby").await;
        let (there, joined) = bob.join(&second, "lobby").await;
        assert_eq!(joined["online"]["count"], 2);
        drop(here);
        let (third, joined) = bob.join(&first, "lobby").await;
        assert_eq!(joined["online"]["count"], 2);
        drop((there, third));
        let left =
            a.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        assert_eq!((&left["left"][0]["id"], &left["count"]), (&json!(bob.id), &json!(1)));
    }

    async fn any_gateway_answers_who_is_online(system: System) {
        let (first, second) = (system.start_gateway().await, system.start_gateway().await);
        let (ada, bob, eve) =
            (system.user("ada").await, system.user("bob").await, system.user("eve").await);
        let room = ada.create_room("lobby").await;
        let functions = system.nats_as("functions").await;
        let everybody = [eve.id, bob.id, ada.id];
        assert_eq!(
            presence::online(&functions, room, &everybody).await.unwrap(),
            HashSet::new(),
            "no gateway"
        );
        let (_a, _) = ada.join(&first, "lobby").await;
        let (b, _) = bob.join(&second, "lobby").await;
        eventually("both gateways to know both", || async {
            // Either gateway may answer; repeated questions must get the same answer.
            for _ in 0..20 {
                let online = presence::online(&functions, room, &everybody).await.unwrap();
                if online != HashSet::from([ada.id, bob.id]) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        let online = presence::online(&functions, room, &[eve.id, bob.id]).await.unwrap();
        assert_eq!(online, HashSet::from([bob.id]), "nobody but who was asked for");
        let elsewhere = presence::online(&functions, RoomId::generate(), &everybody).await.unwrap();
        assert_eq!(elsewhere, HashSet::new());
        drop(b);
        eventually("bob to be gone", || async {
            let online = presence::online(&functions, room, &everybody).await.unwrap();
            (online == HashSet::from([ada.id])).then_some(())
        })
        .await;
        let too_many: Vec<UserId> =
            (0..=PresenceQuery::USERS).map(|_| UserId::generate()).collect();
        assert!(presence::online(&functions, room, &too_many).await.is_err());
        let page: Vec<UserId> = too_many[1..].iter().copied().chain([ada.id]).skip(1).collect();
        let online = presence::online(&functions, room, &page).await.unwrap();
        assert_eq!(online, HashSet::from([ada.id]));
    }

    async fn an_unanswered_presence_question_is_not_an_empty_room(system: System) {
        // A gateway that receives the question and does not answer in time.
        let room = RoomId::generate();
        let stuck = system.nats_as("gateway").await;
        let _heard = stuck.subscribe(protocol::subject::online(room)).await.unwrap();
        let functions = system.nats_as("functions").await;
        eventually("a question that is heard and not answered", || async {
            let started = std::time::Instant::now();
            let online = presence::online(&functions, room, &[UserId::generate()]).await;
            assert!(
                started.elapsed() < std::time::Duration::from_secs(5),
                "nobody waits for it long"
            );
            online.is_err().then_some(())
        })
        .await;
    }
}
