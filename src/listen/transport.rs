//! What the bytes of a connection travel on: the socket, and what it shows beneath TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A client's connection, plain or encrypted.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Bytes that the system has taken for the client in all. TLS takes ours at once and hands them on when
    /// there is room, so that only this shows whether a client that a flush waits for takes any.
    fn taken_bytes(&self) -> u64;

    /// Whether closing the connection resets it, which no client takes for the end of a message, and which
    /// leaves nothing behind in the system.
    fn set_reset_when_closed(&self, reset: bool);
}

/// A client's socket, and the bytes that were read from it ahead of whoever reads it now.
pub(super) struct Socket {
    tcp: TcpStream,
    unread: BytesMut,
    taken_bytes: u64,
}

impl Socket {
    /// The socket with `unread` put back in front of what is still to come.
    pub(super) const fn new(tcp: TcpStream, unread: BytesMut) -> Self {
        Self { tcp, unread, taken_bytes: 0 }
    }

    fn taken(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = written {
            self.taken_bytes += written as u64;
        }
        written
    }
}

impl Transport for Socket {
    fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    fn set_reset_when_closed(&self, reset: bool) {
        // A socket that refuses is gone already.
        let _ = SockRef::from(&self.tcp).set_linger(reset.then_some(Duration::ZERO));
    }
}

impl Transport for TlsStream<Socket> {
    fn taken_bytes(&self) -> u64 {
        self.get_ref().0.taken_bytes()
    }

    fn set_reset_when_closed(&self, reset: bool) {
        self.get_ref().0.set_reset_when_closed(reset);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(cx, into);
        }
        let length = self.unread.len().min(into.remaining());
        into.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.taken(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.taken(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
