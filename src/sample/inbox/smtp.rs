//! A mail server that takes everything for everybody (RFC 5321, the commands that a client needs).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

use super::{Channel, Inbox, MAX_MESSAGE_BYTES};

/// The longest a client may take.
const LONGEST_SESSION: Duration = Duration::from_mins(1);
/// The longest line, its end included (section 4.5.3.1.6 asks for 1,000).
const MAX_LINE_BYTES: u64 = 4_096;
/// The most clients at a time.
const MOST_SESSIONS: usize = 16;

impl Inbox {
    /// Takes mails until `stop`.
    pub async fn serve_mail(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) {
        let places = Arc::new(tokio::sync::Semaphore::new(MOST_SESSIONS));
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let inbox = Arc::clone(&self);
                tokio::spawn(async move {
                    // A client that breaks off has sent nothing.
                    let _ = tokio::time::timeout(LONGEST_SESSION, session(stream, &inbox)).await;
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = stop => {}
        }
    }
}

async fn session(stream: TcpStream, inbox: &Inbox) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    write.write_all(b"220 tollgate demo\r\n").await?;
    loop {
        let line = line(&mut read).await?;
        let command = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
        let verb = command.split([' ', ':']).next().unwrap_or_default();
        let reply: &[u8] = match verb {
            "" if line.is_empty() => return Ok(()),
            "EHLO" => b"250-tollgate demo\r\n250 8BITMIME\r\n",
            "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => b"250 OK\r\n",
            "DATA" => {
                write.write_all(b"354 end with a dot\r\n").await?;
                let mail = mail(&mut read).await?;
                inbox.put(Channel::Mail, &mail)?;
                b"250 kept\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 not here\r\n",
        };
        write.write_all(reply).await?;
    }
}

/// A mail up to the line with one dot, without the dots that were put in front (section 4.5.2).
async fn mail(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let line = line(read).await?;
        if line.is_empty() || mail.len() + line.len() > MAX_MESSAGE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if line == b".\r\n" {
            return Ok(mail);
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

async fn line(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    read.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    Ok(line)
}
