//! Wire formats, without I/O: WebSocket frames, Engine.IO packets and payloads, Socket.IO packets and
//! session ids.

pub mod packet;
pub mod payload;
pub mod sid;
pub mod ws;
