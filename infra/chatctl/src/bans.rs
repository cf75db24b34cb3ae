//! Bans.

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use store::{admin, bans, members};

use crate::{connections::Connections, output::Output};

#[derive(Subcommand)]
pub enum Command {
    /// List bans, newest first.
    List {
        /// Only of this room.
        #[arg(long)]
        room: Option<String>,
        /// Only of this user.
        #[arg(long)]
        user: Option<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Remove a user from a room and prevent them from joining.
    Add { room: String, user: String },
    /// Let a banned user join again.
    Lift { room: String, user: String },
}

impl Command {
    pub async fn run(self, connections: &Connections, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List { room, user, limit } => {
                let room = match room {
                    Some(room) => Some(connections.room(&room).await?.id),
                    None => None,
                };
                let user = match user {
                    Some(user) => Some(connections.user(&user).await?.id),
                    None => None,
                };
                output.list(&admin::bans(&connections.database, room, user, limit).await?)
            }
            Self::Add { room, user } => add(connections, output, &room, &user).await,
            Self::Lift { room, user } => {
                let room = connections.room(&room).await?;
                let user = connections.user(&user).await?;
                let mut tx = connections.begin().await?;
                members::lock(&mut tx, room.id).await?.context("the room was deleted meanwhile")?;
                let was_banned = bans::lift(&mut tx, room.id, user.id).await?;
                tx.commit().await?;
                ensure!(was_banned, "{} is not banned from {}", user.name, room.name);
                output.done(&format!("{} may join {} again", user.name, room.name))
            }
        }
    }
}

async fn add(
    connections: &Connections,
    output: Output,
    room: &str,
    user: &str,
) -> anyhow::Result<()> {
    let (room, user) = (connections.room(room).await?, connections.user(user).await?);
    let mut tx = connections.begin().await?;
    let locked =
        members::lock(&mut tx, room.id).await?.context("the room was deleted meanwhile")?;
    let member = locked.member(&mut tx, user.id).await?;
    if member.is_some() {
        ensure!(
            locked.has_other_owner(&mut tx, user.id).await?,
            "{} is the only owner of {}; make another member an owner first (chatctl rooms owner)",
            user.name,
            room.name
        );
    }
    let by = room.creator;
    let is_banned = bans::ban(&mut tx, &locked, user.id, member, by).await?;
    ensure!(is_banned, "{} was deleted meanwhile", user.name);
    tx.commit().await?;
    output.done(&format!("{} banned from {}", user.name, room.name))
}
