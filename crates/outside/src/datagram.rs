//! Questions of one UDP packet.

use crate::stream::unreachable;
use coffer_engine::BoxFuture;
use coffer_engine::outside::{Datagrams, Fault, FaultKind, Question};
use coffer_types::secret;
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// See [`Datagrams`].
#[derive(Debug, Default)]
pub(crate) struct Client;

/// No packet is larger.
const MAX_PACKET: usize = 65_535;

impl Datagrams for Client {
    fn ask<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<secret::Bytes, Fault>> {
        Box::pin(async move {
            let Question { host, port, .. } = question;
            let end = Instant::now() + question.timeout;
            let late = || Fault::new(FaultKind::Unreachable, format!("{host}:{port} does not answer rightly in time"));
            let addresses = timeout_at(end, tokio::net::lookup_host((host, port))).await.map_err(|_| late())?;
            let address = addresses.map_err(|e| unreachable(host, port, &e))?.next().ok_or_else(late)?;
            let from: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
            let socket = UdpSocket::bind(from).await.map_err(|e| unreachable(host, port, &e))?;
            // A connected socket takes packets from that address and port alone.
            socket.connect(address).await.map_err(|e| unreachable(host, port, &e))?;
            let mut packet = secret::Bytes::new(vec![0; MAX_PACKET]);
            let tries = question.tries.max(1);
            for attempt in 1..=tries {
                socket.send(question.packet).await.map_err(|e| unreachable(host, port, &e))?;
                let until = if attempt == tries { end } else { end - question.timeout * (tries - attempt) / tries };
                while let Ok(received) = timeout_at(until, socket.recv(&mut packet)).await {
                    let length = received.map_err(|e| unreachable(host, port, &e))?;
                    if (question.answers)(&packet[..length]) {
                        return Ok(secret::Bytes::new(packet[..length].to_vec()));
                    }
                }
            }
            Err(late())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn ask(port: u16, tries: u32, millis: u64) -> Result<Vec<u8>, FaultKind> {
        let question = Question {
            host: "127.0.0.1",
            port,
            packet: b"ask",
            tries,
            timeout: Duration::from_millis(millis),
            answers: &|packet| packet == b"right",
        };
        Client.ask(question).await.map(|b| b.to_vec()).map_err(|f| f.kind)
    }

    #[tokio::test]
    async fn waits_for_the_right_answer() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let task = tokio::spawn(async move {
            let mut got = [0; 16];
            // The first packet is lost.
            server.recv_from(&mut got).await.unwrap();
            let (n, from) = server.recv_from(&mut got).await.unwrap();
            assert_eq!(&got[..n], b"ask");
            stranger.send_to(b"right", from).await.unwrap();
            server.send_to(b"wrong", from).await.unwrap();
            server.send_to(b"right", from).await.unwrap();
        });
        assert_eq!(ask(port, 2, 2000).await.unwrap(), b"right");
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_answer_is_none() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn(async move {
            let mut got = [0; 16];
            let (_, from) = server.recv_from(&mut got).await.unwrap();
            server.send_to(b"wrong", from).await.unwrap();
            stranger.send_to(b"right", from).await.unwrap();
        });
        assert_eq!(ask(port, 1, 100).await, Err(FaultKind::Unreachable));
        // Nobody listens there.
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(ask(gone, 1, 100).await, Err(FaultKind::Unreachable));
    }
}
