//! Accounts.

use std::{borrow::Cow, io::Read as _};

use anyhow::ensure;
use clap::Subcommand;
use serde_json::json;
use service::trace::TraceParent;
use store::{
    account_deletion, accounts, admin,
    hash_queue::Requester,
    password::{Hasher, NewPassword},
    sessions,
};

use crate::{connections::Connections, output::Output};

/// Characters of a generated password, of 5 random bits each.
const PASSWORD_CHARS: usize = 16;

#[derive(Subcommand)]
pub enum Command {
    /// List accounts in the order of their names.
    List {
        /// Only names that begin so.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Only disabled accounts.
        #[arg(long)]
        disabled: bool,
        /// Continue after this name.
        #[arg(long, default_value = "")]
        after: String,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show an account and its rooms.
    Show { user: String },
    /// End all sessions of an account and refuse its logins.
    Disable { user: String },
    /// Accept logins of a disabled account again.
    Enable { user: String },
    /// Set a new password and end all sessions. Prints the password, unless it is given.
    ResetPassword {
        user: String,
        /// Read the new password from standard input.
        #[arg(long)]
        stdin: bool,
    },
    /// End all sessions.
    SignOut { user: String },
    /// Delete an account and leave its rooms, as its owner can. Messages stay, without a name.
    Delete {
        user: String,
        /// Confirm: it cannot be undone.
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    pub async fn run(self, connections: &Connections, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List { prefix, disabled, after, limit } => {
                let users = admin::users(&connections.database, &prefix, disabled, &after, limit);
                output.list(&users.await?)
            }
            Self::Show { user } => {
                let user = connections.user(&user).await?;
                output.one(&admin::user_details(&connections.database, user.id).await?)
            }
            Self::Disable { user } => {
                let user = connections.user(&user).await?;
                let mut tx = connections.begin().await?;
                let was_enabled = accounts::disable(&mut tx, user.id).await?;
                tx.commit().await?;
                let how = if was_enabled { "disabled" } else { "was disabled before" };
                output.done(&format!("{} {how}; all sessions ended", user.name))
            }
            Self::Enable { user } => {
                let user = connections.user(&user).await?;
                let mut tx = connections.begin().await?;
                let was_disabled = accounts::enable(&mut tx, user.id).await?;
                tx.commit().await?;
                ensure!(was_disabled, "{} is not disabled", user.name);
                output.done(&format!("{} enabled", user.name))
            }
            Self::ResetPassword { user, stdin } => {
                reset_password(connections, output, &user, stdin).await
            }
            Self::SignOut { user } => {
                let user = connections.user(&user).await?;
                let mut tx = connections.begin().await?;
                let ended = sessions::revoke_all(&mut tx, user.id, None).await?;
                tx.commit().await?;
                output.done(&format!("{ended} sessions of {} ended", user.name))
            }
            Self::Delete { user, yes } => {
                ensure!(yes, "a deleted account cannot be restored; confirm with --yes");
                delete(connections, output, &user).await
            }
        }
    }
}

async fn reset_password(
    connections: &Connections,
    output: Output,
    user: &str,
    stdin: bool,
) -> anyhow::Result<()> {
    let user = connections.user(user).await?;
    let password = if stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        generated_password()
    };
    let new = NewPassword::try_from(Cow::Borrowed(password.as_str()))
        .map_err(|error| anyhow::anyhow!("the password {error}"))?;
    let hash = Hasher::new(1).hash(Requester::User(user.id), new).await?;
    let mut tx = connections.begin().await?;
    ensure!(
        accounts::change_password(&mut tx, user.id, None, &hash).await?,
        "{} was deleted meanwhile",
        user.name
    );
    let ended = sessions::revoke_all(&mut tx, user.id, None).await?;
    tx.commit().await?;
    if stdin {
        return output.done(&format!("{} has a new password; {ended} sessions ended", user.name));
    }
    output.one(&json!({ "user": user.name, "password": password, "sessionsEnded": ended }))
}

/// Letters and digits without those that are mistaken for others.
fn generated_password() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let bytes = rand::random::<[u8; PASSWORD_CHARS]>();
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

async fn delete(connections: &Connections, output: Output, user: &str) -> anyhow::Result<()> {
    let user = connections.user(user).await?;
    let store = connections.store().await?;
    let trace = TraceParent::root();
    let mut tx = store.begin(trace).await?;
    let was_deleted = account_deletion::delete(&mut tx, user.id, None).await?;
    tx.commit().await?;
    ensure!(was_deleted, "{} was deleted meanwhile", user.name);
    // The archive continues if this ends early.
    while account_deletion::leave_rooms(&store, user.id, trace).await? {}
    output.done(&format!("{} deleted", user.name))
}
