//! The S3 users of the compose files.

use store::{
    config::{AwsConfig, StorageConfig},
    storage::Storage,
};

use crate::compose::Compose;

/// The key of an object that nobody stored.
const MISSING: &str = "rooms/missing";

/// `provision` may change the bucket and not its objects; the processes' user the other way round.
pub async fn each_user_has_only_its_rights(compose: &Compose) {
    let app = storage(compose, "S3_APP");
    let provision = storage(compose, "S3_PROVISION");
    assert_eq!(read(&app).await, 404);
    assert_eq!(read(&provision).await, 403);
    assert_eq!(delete_cors(&app).await, 403);
    assert_eq!(create_bucket(&app, "another").await, 403);
    assert_eq!(create_bucket(&provision, "another").await, 403);
    assert!(app.ready().await);
}

fn storage(compose: &Compose, user: &str) -> Storage {
    let config = StorageConfig {
        endpoint: Some(compose.storage_address().parse().unwrap()),
        public_endpoint: None,
        bucket: "chat-files".to_owned(),
        aws: AwsConfig {
            region: "us-east-1".to_owned(),
            credentials: Some((
                compose.secret(&format!("{user}_KEY_ID")),
                compose.secret(&format!("{user}_SECRET")).into(),
            )),
            ca_bundle: None,
        },
    };
    Storage::new(&config).unwrap()
}

async fn read(storage: &Storage) -> u16 {
    let (client, bucket) = storage.admin().await;
    let error = client.get_object().bucket(bucket).key(MISSING).send().await.unwrap_err();
    error.raw_response().unwrap().status().as_u16()
}

async fn delete_cors(storage: &Storage) -> u16 {
    let (client, bucket) = storage.admin().await;
    let error = client.delete_bucket_cors().bucket(bucket).send().await.unwrap_err();
    error.raw_response().unwrap().status().as_u16()
}

async fn create_bucket(storage: &Storage, name: &str) -> u16 {
    let (client, _) = storage.admin().await;
    let error = client.create_bucket().bucket(name).send().await.unwrap_err();
    error.raw_response().unwrap().status().as_u16()
}
