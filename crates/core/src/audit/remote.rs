//! Where a socket or syslog device connects to, and how a line looks there.

use std::fmt;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

/// The other side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// `host:port`.
    Tcp(String),
    Udp(String),
    /// A stream socket's path.
    Unix(String),
    /// The local syslog daemon's datagram socket, wherever it is first found.
    Syslog {
        sockets: Vec<String>,
        header: String,
    },
}

/// A line to a syslog daemon begins with this (RFC 3164 §4.1, the time left to the daemon: the line has its own).
pub(super) fn syslog_header(facility: u8, tag: &str) -> String {
    const INFORMATIONAL: u8 = 6;
    format!("<{}>{tag}[{}]: ", u16::from(facility) * 8 + u16::from(INFORMATIONAL), std::process::id())
}

/// The number of a facility by its name (RFC 3164 §4.1.1).
pub(super) fn facility(name: &str) -> Option<u8> {
    let names = ["KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"];
    if let Some(n) = names.iter().position(|n| n.eq_ignore_ascii_case(name)) {
        return u8::try_from(n).ok();
    }
    let local = name.to_ascii_uppercase().strip_prefix("LOCAL")?.parse::<u8>().ok()?;
    (local < 8).then_some(16 + local)
}

pub(super) enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
    Syslog { socket: UnixDatagram, header: String },
}

impl Target {
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Connection::Tcp(stream)
            }
            Self::Udp(address) => {
                let Some(to) = tokio::net::lookup_host(address).await?.next() else {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
                };
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                Connection::Udp(socket)
            }
            Self::Unix(path) => Connection::Unix(UnixStream::connect(path).await?),
            Self::Syslog { sockets, header } => {
                let socket = UnixDatagram::unbound()?;
                let mut last = Err(io::Error::new(io::ErrorKind::NotFound, "no syslog daemon listens here"));
                for path in sockets {
                    last = socket.connect(path);
                    if last.is_ok() {
                        break;
                    }
                }
                last?;
                Connection::Syslog { socket, header: header.clone() }
            }
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Udp(address) => write!(f, "udp {address}"),
            Self::Unix(path) => write!(f, "unix {path}"),
            Self::Syslog { .. } => f.write_str("syslog"),
        }
    }
}

impl Connection {
    /// False if the other side has hung up: what is written then vanishes in a buffer without an error.
    pub(super) fn alive(&self) -> bool {
        // Nothing is ever read from the other side, but what it sends must not hide its end.
        let mut sink = [0; 512];
        let read = |result: io::Result<usize>| match result {
            Ok(0) => Some(false),
            Ok(_) => None,
            Err(e) => Some(e.kind() == io::ErrorKind::WouldBlock),
        };
        loop {
            let state = match self {
                Self::Tcp(stream) => read(stream.try_read(&mut sink)),
                Self::Unix(stream) => read(stream.try_read(&mut sink)),
                Self::Udp(_) | Self::Syslog { .. } => Some(true),
            };
            if let Some(alive) = state {
                return alive;
            }
        }
    }

    /// One line, as one datagram where there are datagrams. One that is too long for a datagram is an error.
    pub(super) async fn send(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(line).await,
            Self::Unix(stream) => stream.write_all(line).await,
            Self::Udp(socket) => whole(socket.send(line).await?, line.len()),
            Self::Syslog { socket, header } => {
                let mut message = Vec::with_capacity(header.len() + line.len());
                message.extend_from_slice(header.as_bytes());
                message.extend_from_slice(line);
                whole(socket.send(&message).await?, message.len())
            }
        }
    }
}

fn whole(sent: usize, length: usize) -> io::Result<()> {
    if sent == length { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_their_numbers() {
        for (name, number) in [("KERN", 0), ("auth", 4), ("AUTHPRIV", 10), ("ftp", 11), ("LOCAL0", 16), ("local7", 23)] {
            assert_eq!(facility(name), Some(number), "{name}");
        }
        for name in ["", "LOCAL", "LOCAL8", "LOCAL-1", "AUTHX", "LOCAL256"] {
            assert_eq!(facility(name), None, "{name}");
        }
        let pid = std::process::id();
        assert_eq!(syslog_header(4, "vault"), format!("<38>vault[{pid}]: "));
    }
}
