//! A small SMTP server (RFC 5321) that takes mails and keeps them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A mail that came, as it was sent, dots unstuffed.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
}

impl Mail {
    /// The text with the line breaks of quoted-printable (RFC 2045, section 6.7) and its escapes undone.
    pub(crate) fn text(&self) -> String {
        let joined = self.data.replace("=\n", "");
        let mut bytes = Vec::new();
        let mut rest = joined.as_bytes();
        while let [first, tail @ ..] = rest {
            let escaped = (*first == b'=').then(|| tail.get(..2)).flatten();
            let value = escaped.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
            bytes.push(value.unwrap_or(*first));
            rest = if value.is_some() { &tail[2..] } else { tail };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A listening sink.
pub(crate) struct Sink {
    address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Sink {
    /// Turns the first mails away, so many of them, for a while.
    pub(crate) fn start(turned_away: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), mails: Arc::default() };
        let mails = Arc::clone(&sink.mails);
        thread::spawn(move || {
            let mut turned_away = turned_away;
            for stream in listener.incoming().flatten() {
                // A client that leaves early is no matter.
                let _ = serve(stream, &mails, &mut turned_away);
            }
        });
        sink
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, mails: &Mutex<Vec<Mail>>, turned_away: &mut usize) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    out.write_all(b"220 sink.test ESMTP\r\n")?;
    let mut mail = Mail { from: String::new(), to: Vec::new(), data: String::new() };
    while let Some(line) = lines.next() {
        let line = line?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match &*verb {
            "EHLO" => "250-sink.test\r\n250 8BITMIME",
            "MAIL" if *turned_away > 0 => {
                *turned_away -= 1;
                "451 try again later"
            }
            "MAIL" => {
                mail.from = line;
                "250 ok"
            }
            "RCPT" => {
                mail.to.push(line);
                "250 ok"
            }
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    mail.data += line.strip_prefix('.').unwrap_or(&line);
                    mail.data.push('\n');
                }
                mails.lock().unwrap().push(mail.clone());
                "250 taken"
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => "250 ok",
        };
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}
