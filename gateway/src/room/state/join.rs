//! Joins: a socket is accepted at once, or as soon as there is memory for its replay.

use protocol::{
    Code,
    code::Refusal,
    event::{Done, Joined},
};

use super::{Room, replay::MissedError};
use crate::{
    command::{self, WorkerCommand},
    memory::Purpose,
    room::waiting::Join,
};

/// Free memory that is required to retry a long replay, which may have failed with less.
const RETRY_WITH: usize = 1024 * 1024;

impl Room {
    /// Accepts a socket, or queues its join until there is memory.
    pub async fn join(&mut self, join: Join) {
        if let Err(join) = self.try_join(join).await {
            self.waiting.add(join);
        }
    }

    /// Retries waiting joins while there is memory, and refuses those that waited too long.
    pub async fn retry_joins(&mut self) {
        while let Some(join) = self.waiting.take_late() {
            let refusal = Refusal::new(
                Code::Busy,
                "the gateway has no memory for the missed events now; try again",
            );
            self.refuse(join, refusal).await;
        }
        while self.context.budget.has_room(RETRY_WITH, Purpose::Replay)
            && let Some((join, deadline)) = self.waiting.take_first()
        {
            if let Err(join) = self.try_join(join).await {
                self.waiting.put_back(join, deadline);
                break;
            }
        }
        self.waiting.plan_retry();
    }

    /// Refuses all waiting joins, because the room ends.
    pub async fn refuse_waiting(&mut self, refusal: &Refusal) {
        while let Some((join, _)) = self.waiting.take_first() {
            self.refuse(join, refusal.clone()).await;
        }
    }

    async fn refuse(&self, join: Join, refusal: Refusal) {
        let Join { socket, ack, .. } = join;
        let command = WorkerCommand::JoinRefused { socket: socket.id, room: self.id, ack, refusal };
        self.context.workers.send(socket.worker, command).await;
    }

    /// Accepts a socket; returns the join if there is no memory for it now. No event is delivered between
    /// reading the replay and accepting the socket, so live events follow the replay without a gap.
    async fn try_join(&mut self, join: Join) -> Result<(), Join> {
        let missed = match join.after {
            Some(after) => self.missed(after).await,
            None => Ok(Some(Vec::new())),
        };
        let missed = match missed {
            Ok(missed) => missed,
            Err(MissedError::NoMemory) => return Err(join),
            Err(MissedError::Log(error)) => {
                tracing::warn!(room = %self.id, %error, "missed events cannot be read");
                let refusal =
                    Refusal::new(Code::Unavailable, "missed events cannot be read now; try again");
                self.refuse(join, refusal).await;
                return Ok(());
            }
        };
        let Join { socket, person, after, ack } = join;
        self.sockets[socket.worker] += 1;
        self.end_at = None;
        let user = person.id;
        self.presence.enter(person);
        let recovered = missed.is_some();
        if after.is_some() {
            metrics::counter!("chat_gateway_replays_total", "recovered" => recovered.to_string())
                .increment(1);
        }
        let done = Done::Joined(Joined {
            head: self.ring.last(),
            online: self.presence.online(),
            recovered,
        });
        let command = WorkerCommand::Joined(command::Joined {
            socket: socket.id,
            room: self.id,
            user,
            last: self.ring.last(),
            replay: missed.unwrap_or_default(),
            ack,
            done,
        });
        self.context.workers.send(socket.worker, command).await;
        Ok(())
    }
}
