//! A network link that can be cut: what a process behind it sees when its way to a server is gone
//! while everybody else's is not.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A running link.
pub struct Link {
    /// `host:port` at this end.
    pub address: String,
    is_up: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Link {
    /// A link to a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (is_up, seen) = watch::channel(true);
        let server = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                // Dropped at once while the link is cut.
                if *seen.borrow() {
                    tokio::spawn(carry(near, port, seen.clone()));
                }
            }
        });
        Self { address, is_up, server }
    }

    /// Ends all connections and takes no new ones. Nothing passes once this returns.
    pub async fn cut(&self) {
        self.is_up.send_replace(false);
        // Whoever carries holds a receiver; the server's own is left.
        while self.is_up.receiver_count() > 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.is_up.send_replace(true);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn carry(mut near: TcpStream, port: u16, mut is_up: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        // However it ends, both sides see it.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = is_up.wait_for(|is_up| !is_up) => {}
    }
}
