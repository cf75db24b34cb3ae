//! Cross-origin requests, as far as every HTTP server and the object storage answer them alike.

use std::time::Duration;

/// How long a browser may cache the answer to a preflight request.
pub const MAX_AGE: Duration = Duration::from_secs(3600);
