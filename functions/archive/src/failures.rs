//! Collects the failures of independent steps, so that one failure does not stop the others.

/// Failures in the order in which they occurred.
#[derive(Debug, Default)]
pub struct Failures(Vec<anyhow::Error>);

impl Failures {
    pub fn record(&mut self, result: anyhow::Result<()>) {
        self.0.extend(result.err());
    }

    /// One error with the messages of all failures.
    pub fn into_result(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let messages: Vec<String> = self.0.iter().map(|error| format!("{error:#}")).collect();
        Err(anyhow::anyhow!(messages.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_in_the_error() {
        let mut failures = Failures::default();
        failures.record(Ok(()));
        failures.record(Err(anyhow::anyhow!("inner").context("first")));
        failures.record(Err(anyhow::anyhow!("second")));
        let error = failures.into_result().unwrap_err();
        assert_eq!(error.to_string(), "first: inner; second");
        assert!(Failures::default().into_result().is_ok());
    }
}
