//! The same chat on socketioxide, another Socket.IO server in Rust.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler as _,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JoinRoom {
    room_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendMessage {
    room_id: String,
    msg: String,
}

#[derive(Serialize)]
struct Sender {
    id: &'static str,
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceivedMessage {
    room_id: String,
    seq: u64,
    prev: u64,
    id: &'static str,
    from: Sender,
    msg: String,
    at: &'static str,
}

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Runs before the client receives the CONNECT packet, so that its first event has a handler.
async fn register(socket: SocketRef) -> Result<(), Infallible> {
    socket.on("join-room", async |socket: SocketRef, Data::<JoinRoom>(join), ack: AckSender| {
        socket.join(join.room_id);
        let _ = ack.send(&json!({ "ok": true }));
    });
    socket.on(
        "send-msg",
        async |socket: SocketRef, Data::<SendMessage>(message), ack: AckSender| {
            static SEQ: AtomicU64 = AtomicU64::new(0);
            let prev = SEQ.fetch_add(1, Ordering::Relaxed);
            let SendMessage { room_id, msg } = message;
            let from = Sender { id: ID, name: "member 0" };
            let at = "2026-01-01T00:00:00.000Z";
            let event = ReceivedMessage {
                room_id: room_id.clone(),
                seq: prev + 1,
                prev,
                id: ID,
                from,
                msg,
                at,
            };
            let _ = socket.within(room_id).emit("receive-msg", &event).await;
            let _ = ack.send(&json!({ "ok": true }));
        },
    );
    Ok(())
}

/// Serves until the process is killed.
pub fn run(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (layer, io) = SocketIo::new_layer();
        io.ns("/", (async |_: SocketRef| {}).with(register));
        let listener = tokio::net::TcpListener::bind(address).await?;
        axum::serve(listener, axum::Router::new().layer(layer)).await?;
        Ok(())
    })
}
