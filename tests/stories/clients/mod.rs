//! Clients that others wrote: the Socket.IO clients for JavaScript and Python, and browsers.

mod socket_io_and_browsers;

pub use self::socket_io_and_browsers::{browsers, passes};
