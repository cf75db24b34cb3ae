//! Health checks from inside a container: the image has neither a shell nor curl, so each server can ask itself.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

/// Limit for each of connecting, writing and reading. Shorter than the timeout of a container's health check.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends `GET path` to the server that listens on `address` of this machine. The exit code is 0 if it answers 200;
/// otherwise the reason is printed on standard error.
pub fn run(address: SocketAddr, path: &str) -> ExitCode {
    match status_line(reachable(address), path) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => ExitCode::SUCCESS,
        Ok(line) => {
            eprintln!("not healthy: {path} answers {:?}", line.trim_end());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("not healthy: cannot read {path} from {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The address to connect to for an address to listen on: loopback in place of "all interfaces".
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn status_line(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, 256)).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        process::ExitCode,
        thread,
    };

    /// A server on all interfaces that gives one answer.
    fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn only_200_is_healthy() {
        let check = |answer| format!("{:?}", super::run(answering(answer), "/readyz"));
        let healthy = format!("{:?}", ExitCode::SUCCESS);
        assert_eq!(check(b"HTTP/1.1 200 OK\r\n\r\n"), healthy);
        for answer in
            [b"HTTP/1.1 503 Service Unavailable\r\n\r\n".as_slice(), b"200", b"", b"\xff\n"]
        {
            assert_ne!(check(answer), healthy, "{answer:?}");
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_ne!(format!("{:?}", super::run(free, "/readyz")), healthy, "nobody listens");
    }
}
