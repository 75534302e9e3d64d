//! TLS inside of the protocol: until the handshake is over, its messages travel in packets; after it, packets travel in TLS.

use super::{HEADER, kind, packets};
use crate::stream::Stream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What TLS reads and writes.
pub(super) struct Tunnel {
    inner: Box<dyn Stream>,
    open: Arc<AtomicBool>,
    /// The header of the packet that is coming, and how much of it is here.
    header: [u8; HEADER],
    have: usize,
    /// So many bytes of it are still to come.
    left: usize,
    /// What TLS has written since the last flush; then packets, sent up to `sent`.
    written: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
}

/// Says that the handshake is over.
pub(super) struct Switch(Arc<AtomicBool>);

impl Switch {
    pub(super) fn open(self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Tunnel {
    pub(super) fn new(inner: Box<dyn Stream>) -> (Self, Switch) {
        let open = Arc::new(AtomicBool::new(false));
        let switch = Switch(open.clone());
        let tunnel =
            Self { inner, open, header: [0; HEADER], have: 0, left: 0, written: Vec::new(), outgoing: Vec::new(), sent: 0 };
        (tunnel, switch)
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Sends what was written, as one message.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written.is_empty() {
            let written = std::mem::take(&mut self.written);
            packets(kind::PRELOGIN, &written, super::PACKET).for_each(|packet| self.outgoing.extend_from_slice(&packet));
        }
        while self.sent < self.outgoing.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.outgoing[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.outgoing.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_open() && this.left == 0 && this.have == 0 {
            return Pin::new(&mut this.inner).poll_read(cx, out);
        }
        ready!(this.drain(cx))?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        while this.left == 0 {
            let mut header = ReadBuf::new(&mut this.header[this.have..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut header))?;
            let count = header.filled().len();
            if count == 0 {
                return Poll::Ready(if this.have == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            }
            this.have += count;
            if this.have == HEADER {
                let length = usize::from(u16::from_be_bytes([this.header[2], this.header[3]]));
                if !matches!(this.header[0], kind::PRELOGIN | kind::ANSWER) || length < HEADER {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                (this.left, this.have) = (length - HEADER, 0);
            }
        }
        let room = out.remaining().min(this.left);
        let mut some = ReadBuf::new(out.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut some))?;
        let count = some.filled().len();
        out.advance(count);
        this.left -= count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_open() {
            ready!(self.drain(cx))?;
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
