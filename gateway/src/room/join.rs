//! Taking sockets in: at once, or as soon as there is memory for what they missed.

use std::collections::VecDeque;

use protocol::{
    Code, Seq,
    code::Refusal,
    event::{Done, Joined},
    stored::Person,
};
use tokio::time::{Duration, Instant};

use super::{Room, replay::MissedError};
use crate::{
    command::{self, WorkerCommand},
    memory::Purpose,
    wire::sid::SocketRef,
};

/// A join that finds no memory for its replay waits this long and is then told to try again. Its
/// socket is not read from meanwhile, and answers no ping: less than a ping's timeout.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);
/// Joins that wait are tried again this often.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// So much is to be free before a long replay is read again: it may have been too little the last
/// time.
const WORTH_TRYING: usize = 1024 * 1024;

/// A socket that wants in.
#[derive(Debug)]
pub(super) struct Join {
    pub socket: SocketRef,
    pub person: Person,
    /// The last event that its client has.
    pub after: Option<Seq>,
    pub ack: Option<u64>,
}

/// Joins that wait for memory, the oldest first. A socket has one join under way at a time, so there
/// are at most as many as sockets.
#[derive(Debug, Default)]
pub(super) struct WaitingJoins {
    joins: VecDeque<(Join, Instant)>,
    /// When to try again.
    pub try_at: Option<Instant>,
}

impl WaitingJoins {
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty()
    }

    fn add(&mut self, join: Join) {
        let now = Instant::now();
        self.joins.push_back((join, now + WAIT_AT_MOST));
        self.try_at.get_or_insert(now + TRY_EVERY);
    }

    fn take_late(&mut self) -> Option<Join> {
        let (_, until) = self.joins.front()?;
        if *until > Instant::now() {
            return None;
        }
        self.joins.pop_front().map(|(join, _)| join)
    }
}

impl Room {
    /// Takes a socket in, or has it wait.
    pub(super) async fn join(&mut self, join: Join) {
        if let Err(join) = self.try_join(join).await {
            self.waiting.add(join);
        }
    }

    /// Takes in who waits, as far as there is memory. Who waited for too long is refused.
    pub(super) async fn retry_joins(&mut self) {
        while let Some(join) = self.waiting.take_late() {
            let refusal =
                Refusal::new(Code::Busy, "memory for what you missed is short; try again");
            self.refuse(join, refusal).await;
        }
        while self.context.budget.has_room(WORTH_TRYING, Purpose::Replay)
            && let Some((join, until)) = self.waiting.joins.pop_front()
        {
            if let Err(join) = self.try_join(join).await {
                self.waiting.joins.push_front((join, until));
                break;
            }
        }
        self.waiting.try_at = (!self.waiting.is_empty()).then(|| Instant::now() + TRY_EVERY);
    }

    /// The room ends.
    pub(super) async fn refuse_waiting(&mut self, refusal: &Refusal) {
        for (join, _) in std::mem::take(&mut self.waiting.joins) {
            self.refuse(join, refusal.clone()).await;
        }
    }

    async fn refuse(&self, join: Join, refusal: Refusal) {
        let Join { socket, ack, .. } = join;
        let command = WorkerCommand::JoinRefused { socket: socket.id, room: self.id, ack, refusal };
        self.context.workers.send(socket.worker, command).await;
    }

    /// Takes a socket in; gives the join back when there is no memory for it now. All between here
    /// and the answer runs while no event is delivered, so the replay ends where the live events
    /// begin.
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
            metrics::counter!("gateway_replays_total", "recovered" => recovered.to_string())
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
