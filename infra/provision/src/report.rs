//! Log lines about what was changed.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Unchanged,
    Updated,
    /// The storage does not have this feature; its operator configures an equivalent.
    Unsupported,
}

impl Outcome {
    /// Compares the state before, if there was one, with the state now.
    pub fn of<T: PartialEq>(before: Option<&T>, now: &T) -> Self {
        match before {
            None => Self::Created,
            Some(before) if before == now => Self::Unchanged,
            Some(_) => Self::Updated,
        }
    }
}

/// Logs the outcome of one item, such as a stream.
pub fn report(item: &str, outcome: Outcome) {
    match outcome {
        Outcome::Created => tracing::info!("{item}: created"),
        Outcome::Unchanged => tracing::info!("{item}: unchanged"),
        Outcome::Updated => tracing::info!("{item}: updated"),
        Outcome::Unsupported => {
            tracing::warn!("{item}: not supported by this storage; configure it there");
        }
    }
}
