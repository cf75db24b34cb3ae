//! CORS settings that all HTTP servers and the object storage share.

use std::time::Duration;

/// How long a browser may cache the answer to a preflight request.
pub const MAX_AGE: Duration = Duration::from_secs(3600);
