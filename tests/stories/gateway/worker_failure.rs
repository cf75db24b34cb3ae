//! A part of the gateway fails: the process says so and ends, instead of looking ready.

use serde_json::Value;
use stories::{Database, World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_failed_part_is_not_ready_and_ends_with_an_error() {
    let world = World::new(Database::Sqlite).await;
    let (gateway, other) = (world.gateway().await, world.gateway().await);
    let ready = async |base: &str| {
        let answer = world.http.get(format!("{base}/readyz")).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["workers"].clone())
    };
    assert_eq!(ready(&gateway.base).await, (200, true.into()));
    gateway.handle().supervise("a part of the gateway", async {
        std::panic::resume_unwind(Box::new("a fault of ours"))
    });
    let failure = tokio::time::timeout(stories::SOON, gateway.handle().drained()).await.unwrap();
    assert_eq!(failure.unwrap_err().to_string(), "a part of the gateway panicked");
    eventually("it not to be ready", || async {
        (ready(&gateway.base).await == (503, false.into())).then_some(())
    })
    .await;
    assert_eq!(ready(&other.base).await.0, 200, "another gateway is another gateway");
}
