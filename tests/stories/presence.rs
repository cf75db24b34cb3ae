//! Who is there.

use serde_json::json;
use stories::{World, stories};

stories! {
    async fn coming_and_leaving_is_seen_across_gateways(world: World) {
        let (first, second) = (world.gateway().await, world.gateway().await);
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        ada.create_room("lobby").await;
        let (mut a, joined) = ada.join(&first, "lobby").await;
        assert_eq!(joined["online"]["users"], json!([{ "id": ada.id, "name": "ada" }]));
        let (b, joined) = bob.join(&second, "lobby").await;
        assert_eq!(joined["online"]["count"], 2, "the other gateway was asked");
        let came = a.expect_where("presence", |data| data["joined"][0]["id"] == json!(bob.id)).await;
        assert_eq!(came["count"], 2);
        drop(b);
        let left = a.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        assert_eq!((&left["left"], &left["count"]), (&json!([{ "id": bob.id, "name": "bob" }]), &json!(1)));
    }

    async fn a_user_with_several_sockets_is_one_user(world: World) {
        let (first, second) = (world.gateway().await, world.gateway().await);
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&first, "lobby").await;
        let (here, _) = bob.join(&first, "lobby").await;
        let (there, joined) = bob.join(&second, "lobby").await;
        assert_eq!(joined["online"]["count"], 2);
        drop(here);
        let (third, joined) = bob.join(&first, "lobby").await;
        assert_eq!(joined["online"]["count"], 2);
        drop((there, third));
        let left = a.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        assert_eq!((&left["left"][0]["id"], &left["count"]), (&json!(bob.id), &json!(1)));
    }
}
