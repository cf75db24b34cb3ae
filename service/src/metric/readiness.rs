//! The metrics of `/readyz`.

/// Sets the metrics of a service's `/readyz`.
pub fn set_ready(service: &'static str, is_ready: bool, checks: &[(&'static str, bool)]) {
    metrics::gauge!("chat_ready", "service" => service).set(f64::from(is_ready));
    for (check, holds) in checks {
        metrics::gauge!("chat_ready_check", "service" => service, "check" => *check)
            .set(f64::from(*holds));
    }
}
