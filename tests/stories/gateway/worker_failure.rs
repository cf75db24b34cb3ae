//! When a part of the gateway fails, the gateway is not ready and ends with an error.

use serde_json::Value;
use stories::{Database, System, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_part_ends_the_gateway_with_an_error() {
    let system = System::new(Database::Sqlite).await;
    let (gateway, other) = (system.start_gateway().await, system.start_gateway().await);
    let ready = async |base: &str| {
        let answer = system.http.get(format!("{base}/readyz")).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["workers"].clone())
    };
    assert_eq!(ready(&gateway.base).await, (200, true.into()));
    gateway.handle().supervise("a part of the gateway", async {
        std::panic::resume_unwind(Box::new("a fault of ours"))
    });
    let failure =
        tokio::time::timeout(stories::DEADLINE, gateway.handle().drained()).await.unwrap();
    assert_eq!(failure.unwrap_err().to_string(), "a part of the gateway panicked");
    eventually("it not to be ready", || async {
        (ready(&gateway.base).await == (503, false.into())).then_some(())
    })
    .await;
    assert_eq!(ready(&other.base).await.0, 200, "another gateway is another gateway");
}
