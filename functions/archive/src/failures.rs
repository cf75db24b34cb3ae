//! What failed while the rest went on.

/// Failures of one pass, in the order in which they came.
#[derive(Debug, Default)]
pub struct Failures(Vec<anyhow::Error>);

impl Failures {
    pub fn note(&mut self, result: anyhow::Result<()>) {
        self.0.extend(result.err());
    }

    /// One error that says all of them.
    pub fn into_result(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = self.0.iter().map(|error| format!("{error:#}")).collect();
        Err(anyhow::anyhow!(told.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_in_the_error() {
        let mut failures = Failures::default();
        failures.note(Ok(()));
        failures.note(Err(anyhow::anyhow!("inner").context("first")));
        failures.note(Err(anyhow::anyhow!("second")));
        let error = failures.into_result().unwrap_err();
        assert_eq!(error.to_string(), "first: inner; second");
        assert!(Failures::default().into_result().is_ok());
    }
}
