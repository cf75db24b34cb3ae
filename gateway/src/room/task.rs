//! A room's task: waits for mail and for timers.

use std::{collections::VecDeque, sync::Arc};

use protocol::{Code, RoomId, code::Refusal};
use tokio::sync::watch;

use super::{context::Context, state::Room};
use crate::{
    command::{RoomCommand, WorkerCommand},
    mailbox::{Mail, Mailbox},
};

/// Runs a room until it has been empty for a while or is deleted. All futures but the waiting one are boxed, so
/// that an idle room takes no memory for them.
pub async fn run(id: RoomId, context: Arc<Context>, mailbox: Mailbox) {
    let opened = Box::pin(Room::open(id, context.clone(), &mailbox)).await;
    let (mut room, _subscription, mut mail) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(room = %id, %error, "a room could not be opened");
            let refusal =
                Refusal::new(Code::Unavailable, "the room cannot be opened now; try again");
            return Box::pin(refuse_all(&context, id, mailbox.close(), refusal)).await;
        }
    };
    let mut disturbed: watch::Receiver<u64> = context.bus.disturbed();
    disturbed.mark_unchanged();
    let mut is_over = false;
    while !is_over && !room.is_deleted() {
        let mut missed = false;
        if mail.is_empty() {
            tokio::select! {
                taken = mailbox.take() => { mail = taken.mail; missed = taken.missed; }
                Ok(()) = disturbed.changed() => missed = true,
                () = service::time::sleep_until(room.next_timer()) => {
                    // A join that has just come keeps the room open.
                    is_over = Box::pin(room.on_timers()).await && mailbox.is_empty();
                }
            }
        }
        if !mail.is_empty() {
            Box::pin(room.on_mail(&mut mail)).await;
        }
        if missed {
            Box::pin(room.on_missed()).await;
        }
    }
    mail.extend(mailbox.close());
    let closed = "the room just closed here; try again";
    let refusal = match room.is_deleted() {
        true => deleted(),
        false => Refusal::new(Code::Unavailable, closed),
    };
    Box::pin(room.refuse_waiting(&refusal)).await;
    Box::pin(refuse_all(&context, id, mail, refusal)).await;
}

fn deleted() -> Refusal {
    Refusal::new(Code::RoomDeleted, "the room was deleted")
}

/// Refuses the joins that arrived while the room ended. The next join opens it again.
async fn refuse_all(context: &Context, id: RoomId, mail: VecDeque<Mail>, refusal: Refusal) {
    for mail in mail {
        if let Mail::Command(RoomCommand::Join { socket, ack, .. }) = mail {
            let refusal = refusal.clone();
            let command = WorkerCommand::JoinRefused { socket: socket.id, room: id, ack, refusal };
            context.workers.send(socket.worker, command).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_waiting_task_is_small() {
        let size = size_of_future(run);
        assert!(size <= 2 * 1024, "{size} bytes for every room");
    }
}
