//! State that all sections of a run share.

use crate::{identity::Identity, results::Results, servers::Kind};

pub struct Suite<'a> {
    pub identity: Identity,
    /// Measure only the first of the compared servers, which is the gateway.
    pub is_gateway_only: bool,
    /// Duration of each measurement.
    pub seconds: f64,
    pub results: &'a mut Results,
}

impl Suite<'_> {
    /// The servers to measure.
    pub fn selected<'k>(&self, kinds: &'k [Kind]) -> &'k [Kind] {
        if self.is_gateway_only { &kinds[..1] } else { kinds }
    }
}
