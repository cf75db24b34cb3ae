//! Version and commit of this build, for `--version`, logs and metrics.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, or `unknown` in a development build. See `build.rs`.
pub const COMMIT: &str = env!("BUILD_COMMIT");
/// Both, such as `0.1.0 (4bf92f3577b3)`.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")");
