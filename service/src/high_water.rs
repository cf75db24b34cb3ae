//! How far the streams are, as far as this process knows. A sequence never goes backwards: a stream that
//! does was restored from an older backup, and whatever is stored in it then would be taken for what
//! was stored there before.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use protocol::{
    Seq,
    subject::{Shard, Shards},
};

/// The highest seq known of each stream; cheap to clone.
#[derive(Debug, Clone)]
pub struct HighWater(Arc<[Water]>);

#[derive(Debug, Default)]
struct Water {
    highest: AtomicU64,
    is_behind: AtomicBool,
}

impl HighWater {
    pub fn new(shards: Shards) -> Self {
        Self(shards.all().map(|_| Water::default()).collect())
    }

    fn of(&self, shard: Shard) -> Option<&Water> {
        self.0.get(shard.index())
    }

    /// The highest seq that the stream is known to have reached.
    pub fn highest(&self, shard: Shard) -> Seq {
        let highest = self.of(shard).map_or(0, |water| water.highest.load(Relaxed));
        // Only seqs are stored.
        Seq::try_from(highest).unwrap_or(Seq::MAX)
    }

    /// The stream has reached this seq.
    pub fn raise(&self, shard: Shard, seq: Seq) {
        let seq = seq.get();
        if let Some(water) = self.of(shard)
            && water.highest.load(Relaxed) < seq
        {
            water.highest.fetch_max(seq, Relaxed);
        }
    }

    /// Whether the stream is behind what is known of it.
    pub fn is_behind(&self, shard: Shard) -> bool {
        self.of(shard).is_some_and(|water| water.is_behind.load(Relaxed))
    }

    /// Whether any stream is.
    pub fn is_any_behind(&self) -> bool {
        self.0.iter().any(|water| water.is_behind.load(Relaxed))
    }

    /// Notes it; says so once when it changes.
    pub fn set_behind(&self, shard: Shard, is_behind: bool) {
        let Some(water) = self.of(shard) else { return };
        let stream = shard.stream();
        metrics::gauge!("stream_behind", "stream" => stream.clone()).set(f64::from(is_behind));
        if water.is_behind.swap(is_behind, Relaxed) == is_behind {
            return;
        }
        let highest = water.highest.load(Relaxed);
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
        let water = HighWater::new(shards);
        water.raise(one, 7.into());
        water.raise(one, 5.into());
        assert_eq!((water.highest(one), water.highest(other)), (7.into(), Seq::ZERO));
        water.set_behind(other, true);
        assert!(water.is_behind(other) && !water.is_behind(one) && water.is_any_behind());
        water.set_behind(other, false);
        assert!(!water.is_any_behind());
    }
}
