//! Sessions.

use anyhow::ensure;
use clap::Subcommand;
use protocol::SessionId;
use store::{admin, sessions};

use crate::{connections::Connections, output::Output};

#[derive(Subcommand)]
pub enum Command {
    /// List the sessions of a user, oldest first.
    List { user: String },
    /// End one session. `users sign-out` ends all of a user.
    End { session: SessionId },
}

impl Command {
    pub async fn run(self, connections: &Connections, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List { user } => {
                let user = connections.user(&user).await?;
                output.list(&admin::sessions(&connections.database, user.id).await?)
            }
            Self::End { session } => {
                let mut tx = connections.begin().await?;
                let was_active = sessions::revoke(&mut tx, session).await?;
                tx.commit().await?;
                ensure!(was_active, "there is no active session {session}");
                output.done(&format!("session {session} ended"))
            }
        }
    }
}
