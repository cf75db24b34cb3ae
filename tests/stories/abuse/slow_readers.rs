//! Clients that request large responses and read them slowly or never.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use stories::{DEADLINE, Database, System, User, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// An export of so many messages is larger than the buffers of two sockets.
const MESSAGES: usize = 1_200;
const MESSAGE_BYTES: usize = 16_000;
const STALLED: usize = 6;
const MEMORY: u64 = 40 * 1024 * 1024;

/// The resident memory of a process in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The number of sockets of a process.
fn sockets(process: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Starts an export and does not read it.
async fn stall(address: SocketAddr, user: &User) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /user/export HTTP/1.1\r\nhost: chat\r\nauthorization: Bearer {}\r\n\r\n",
        user.access
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// Reads a response slowly; returns its body.
async fn read_slowly(mut response: reqwest::Response) -> Vec<u8> {
    let (mut whole, mut pause_at) = (Vec::new(), 0);
    while let Some(piece) = response.chunk().await.unwrap() {
        whole.extend(piece);
        if whole.len() > pause_at {
            pause_at = whole.len() + 64 * 1024;
            // The pause is what makes this reader slow.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_exports_use_little_memory_and_end() {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("RESPONSE_STALL_SECONDS", "5");
    system.set_variable("LIMIT_EXPORTS", &(STALLED + 1).to_string());
    let functions = system.start_server("functions", |_| {}).await;
    let (id, base) = (functions.id(), &functions.base);
    let address = functions.address.parse().unwrap();
    let mut users = Vec::new();
    for n in 0..STALLED + 2 {
        users.push(system.user(&format!("user-{n}")).await.at(base));
    }
    users[0].create_room("lobby").await;
    let fill = format!(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {MESSAGES})
         INSERT INTO message (room_id, seq, id, author_id, author_name, msg, at)
         SELECT r.id, 100000 * (SELECT COUNT(*) FROM account b WHERE b.id < a.id) + n, randomblob(16), a.id, a.name,
           printf('%.*c', {MESSAGE_BYTES}, 'x'), a.created_at FROM room r, account a, s"
    );
    assert_eq!(system.execute(&fill).await, (MESSAGES * users.len()) as u64);
    let (steady, other) = (users.pop().unwrap(), users.pop().unwrap());
    // Memory that the first export allocates once is not counted.
    other.get("/user/export").await.ok();
    let before = resident(id);

    let mut stalled = Vec::new();
    for user in &users {
        stalled.push(stall(address, user).await);
    }
    let open = sockets(id);
    let again = users[0].get("/user/export").await;
    again.problem(429, "export-running");
    assert_eq!(again.headers["retry-after"], "10");
    let begun = steady.request(reqwest::Method::GET, "/user/export").send().await.unwrap();
    assert_eq!(begun.status(), 200);
    let refused = other.get("/user/export").await;
    refused.problem(503, "too-many-exports");
    assert_eq!(refused.headers["retry-after"], "10");
    let reading = tokio::spawn(read_slowly(begun));
    other.get("/user").await.ok();
    system.login("user-0").await;
    let export: Value = serde_json::from_slice(&reading.await.unwrap()).unwrap();
    assert_eq!(export["messages"].as_array().unwrap().len(), MESSAGES);
    let grown = resident(id).saturating_sub(before);
    assert!(grown < MEMORY, "{STALLED} stalled readers cost {} KiB", grown / 1024);

    // The server closes stalled connections by itself, and their users may export again.
    eventually("the stalled connections to be closed", || async {
        // Other connections were opened meanwhile, less than half as many.
        (sockets(id) + STALLED / 2 <= open).then_some(())
    })
    .await;
    let next = eventually("the first user's export to be over", || async {
        let answer = users[0].get("/user/export").await;
        (answer.status != 429).then_some(answer)
    });
    next.await.ok();
    // A cut export must not look complete.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stalled[0].read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err() || !rest.ends_with(b"0\r\n\r\n"), "a cut export ends like a whole one");
}
