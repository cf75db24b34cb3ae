//! High-water marks: the highest seq of each stream that this process has seen. A stream whose newest seq is
//! below it is *behind*: it was restored from an older backup, and would assign known seqs to new events.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use protocol::{
    Seq,
    subject::{Shard, Shards},
};

/// The marks of all streams. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct HighWater(Arc<[Mark]>);

#[derive(Debug, Default)]
struct Mark {
    highest: AtomicU64,
    is_behind: AtomicBool,
}

impl HighWater {
    pub fn new(shards: Shards) -> Self {
        Self(shards.all().map(|_| Mark::default()).collect())
    }

    fn of(&self, shard: Shard) -> Option<&Mark> {
        self.0.get(shard.index())
    }

    /// The highest known seq of a stream.
    pub fn highest(&self, shard: Shard) -> Seq {
        let highest = self.of(shard).map_or(0, |mark| mark.highest.load(Relaxed));
        // Only valid seqs are stored.
        Seq::try_from(highest).unwrap_or(Seq::MAX)
    }

    /// Notes that a stream has reached `seq`.
    pub fn raise(&self, shard: Shard, seq: Seq) {
        let seq = seq.get();
        if let Some(mark) = self.of(shard)
            && mark.highest.load(Relaxed) < seq
        {
            mark.highest.fetch_max(seq, Relaxed);
        }
    }

    /// Whether the stream is behind.
    pub fn is_behind(&self, shard: Shard) -> bool {
        self.of(shard).is_some_and(|mark| mark.is_behind.load(Relaxed))
    }

    /// Whether any stream is behind.
    pub fn is_any_behind(&self) -> bool {
        self.0.iter().any(|mark| mark.is_behind.load(Relaxed))
    }

    /// Sets whether a stream is behind. Logs changes only.
    pub fn set_behind(&self, shard: Shard, is_behind: bool) {
        let Some(mark) = self.of(shard) else { return };
        let stream = shard.stream();
        metrics::gauge!("chat_stream_behind", "stream" => stream.clone()).set(f64::from(is_behind));
        if mark.is_behind.swap(is_behind, Relaxed) == is_behind {
            return;
        }
        let highest = mark.highest.load(Relaxed);
        if is_behind {
            tracing::error!(
                stream,
                highest,
                "the stream is behind: it was restored from an older backup; run `provision --advance`"
            );
        } else {
            tracing::info!(stream, highest, "the stream is no longer behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_seq_only_rises() {
        let shards = Shards::new(2).unwrap();
        let [one, other] = [0, 1].map(|index| shards.all().nth(index).unwrap());
        let marks = HighWater::new(shards);
        marks.raise(one, 7.into());
        marks.raise(one, 5.into());
        assert_eq!((marks.highest(one), marks.highest(other)), (7.into(), Seq::ZERO));
        marks.set_behind(other, true);
        assert!(marks.is_behind(other) && !marks.is_behind(one) && marks.is_any_behind());
        marks.set_behind(other, false);
        assert!(!marks.is_any_behind());
    }
}
