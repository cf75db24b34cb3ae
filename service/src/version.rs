//! Version and commit of this build.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), " (unknown)");
