//! A TCP proxy that can be disconnected: one client loses its server while all others still reach it.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A running proxy.
pub struct TcpProxy {
    /// `host:port` of the proxy.
    pub address: String,
    is_up: watch::Sender<bool>,
    /// Rises when the connections stop carrying anything.
    silenced: watch::Sender<u64>,
    server: JoinHandle<()>,
}

impl TcpProxy {
    /// A proxy of a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (is_up, seen) = watch::channel(true);
        let (silenced, silence) = watch::channel(0);
        let server = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                // While disconnected, a new connection is closed at once.
                if *seen.borrow() {
                    tokio::spawn(forward(near, port, seen.clone(), silence.clone()));
                }
            }
        });
        Self { address, is_up, silenced, server }
    }

    /// Closes all connections and refuses new ones. Nothing passes once this returns.
    pub async fn disconnect(&self) {
        self.is_up.send_replace(false);
        // Every forwarding task holds a receiver; the last one is the server's.
        while self.is_up.receiver_count() > 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Keeps all connections open without passing on anything any more, as a network does that has forgotten them. New
    /// connections work.
    pub fn black_hole(&self) {
        self.silenced.send_modify(|count| *count += 1);
    }

    /// Accepts connections again.
    pub fn reconnect(&self) {
        self.is_up.send_replace(true);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(
    mut near: TcpStream,
    port: u16,
    mut is_up: watch::Receiver<bool>,
    mut silence: watch::Receiver<u64>,
) {
    silence.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let is_silenced = tokio::select! {
        // Both connections are dropped when this ends, so both sides see the end.
        _ = copy_bidirectional(&mut near, &mut far) => false,
        _ = is_up.wait_for(|is_up| !is_up) => false,
        silenced = silence.changed() => silenced.is_ok(),
    };
    drop(is_up);
    if is_silenced {
        // Keeps both open until the proxy is dropped.
        while silence.changed().await.is_ok() {}
    }
}
