//! Rooms.

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use protocol::Role;
use store::{admin, members, room_deletion};

use crate::{connections::Connections, output::Output};

#[derive(Subcommand)]
pub enum Command {
    /// List rooms in the order of their names.
    List {
        /// Only names that begin so.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Continue after this name.
        #[arg(long, default_value = "")]
        after: String,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show a room, its owners and moderators.
    Show { room: String },
    /// Delete a room with its messages and files, as its creator can.
    Delete {
        room: String,
        /// Confirm: it cannot be undone.
        #[arg(long)]
        yes: bool,
    },
    /// Make a member an owner and the creator, who may delete the room.
    Owner {
        room: String,
        user: String,
        /// Make all other owners moderators.
        #[arg(long)]
        only: bool,
    },
}

impl Command {
    pub async fn run(self, connections: &Connections, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List { prefix, after, limit } => {
                let rooms = admin::rooms(&connections.database, &prefix, &after, limit);
                output.list(&rooms.await?)
            }
            Self::Show { room } => {
                let room = connections.room(&room).await?;
                output.one(&admin::room_details(&connections.database, room.id).await?)
            }
            Self::Delete { room, yes } => {
                ensure!(yes, "a deleted room cannot be restored; confirm with --yes");
                let room = connections.room(&room).await?;
                let mut tx = connections.begin().await?;
                let was_deleted =
                    room_deletion::mark_deleted(&mut tx, room.id, room.creator).await?;
                tx.commit().await?;
                ensure!(was_deleted, "{} was deleted meanwhile", room.name);
                output.done(&format!("{} deleted; the archive removes its contents", room.name))
            }
            Self::Owner { room, user, only } => {
                set_owner(connections, output, (&room, &user), only).await
            }
        }
    }
}

async fn set_owner(
    connections: &Connections,
    output: Output,
    (room, user): (&str, &str),
    only: bool,
) -> anyhow::Result<()> {
    let (room, user) = (connections.room(room).await?, connections.user(user).await?);
    let mut tx = connections.begin().await?;
    let locked =
        members::lock(&mut tx, room.id).await?.context("the room was deleted meanwhile")?;
    let member = locked.member(&mut tx, user.id).await?;
    let member =
        member.with_context(|| format!("{} is not a member of {}", user.name, room.name))?;
    if member.role != Role::Owner {
        locked.set_role(&mut tx, user.id, Role::Owner).await?;
    }
    locked.set_creator(&mut tx, user.id).await?;
    if only {
        for other in locked.other_owners(&mut tx, user.id).await? {
            locked.set_role(&mut tx, other, Role::Moderator).await?;
        }
    }
    tx.commit().await?;
    output.done(&format!("{} is an owner and the creator of {}", user.name, room.name))
}
