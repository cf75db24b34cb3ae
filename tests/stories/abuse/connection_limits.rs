//! Limits of open connections and requests per address, at every server.

use stories::{Answer, DEADLINE, Database, System, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

async fn connect(base: &str) -> TcpStream {
    TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap()
}

async fn ask(stream: &mut TcpStream) -> Option<String> {
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

async fn is_served(base: &str) -> Option<()> {
    let answer = ask(&mut connect(base).await).await?;
    (answer == "HTTP/1.1 200").then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_per_address_are_limited() {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("LIMIT_CONNECTIONS_PER_ADDRESS", "3");
    let (functions, gateway) = (system.start_functions().await, system.start_gateway().await);
    // The readiness check was a connection of this address too.
    drop(std::mem::take(&mut system.http));
    for base in [&functions, &gateway.base] {
        eventually("a free place", || is_served(base)).await;
        let mut held = Vec::new();
        while held.len() < 3 {
            let mut stream = connect(base).await;
            // An earlier connection may still be counted.
            if ask(&mut stream).await.is_some() {
                held.push(stream);
            }
        }
        let refused = timeout(DEADLINE, ask(&mut connect(base).await)).await.unwrap();
        assert_eq!(refused, None, "{base}");
        held.pop();
        eventually("a place again", || is_served(base)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_serves_the_next_client_after_a_disconnect() {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("LIMIT_CONNECTIONS", "2");
    let base = system.start_functions().await;
    let mut first = connect(&base).await;
    let mut second = connect(&base).await;
    for stream in [&mut first, &mut second] {
        assert_eq!(ask(stream).await.as_deref(), Some("HTTP/1.1 200"));
    }
    let mut third = connect(&base).await;
    let mut answer = Box::pin(ask(&mut third));
    // Proves that nothing arrives: no event shows that the server holds a connection back.
    let early = timeout(std::time::Duration::from_millis(300), answer.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    let answer = timeout(DEADLINE, answer).await.unwrap();
    assert_eq!(answer.as_deref(), Some("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_requests_per_address_are_limited() {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("LIMIT_CONNECTIONS_PER_ADDRESS", "2");
    system.set_variable("TRUSTED_PROXY_HOPS", "1");
    let base = system.start_functions().await;
    let ask_as = async |address: &str| {
        let request = system.http.get(format!("{base}/healthz"));
        Answer::of(request.header("x-forwarded-for", address)).await
    };
    let mut held = Vec::new();
    for _ in 0..2 {
        // The body never arrives, so the request stays open.
        let mut stream = connect(&base).await;
        let head = "POST /login HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.1\r\n\
                    content-type: application/json\r\ncontent-length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let refused = eventually("the refusal of a third request", || async {
        let answer = ask_as("192.0.2.1").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.problem(429, "too-many-connections");
    assert_eq!(refused.headers["retry-after"], "1");
    ask_as("192.0.2.2").await.ok();
    drop(held);
    eventually("the end of the held requests", || async {
        ask_as("192.0.2.1").await.status.is_success().then_some(())
    })
    .await;
}
