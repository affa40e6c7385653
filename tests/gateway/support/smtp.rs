//! A small SMTP server (RFC 5321) that takes mails and keeps them, in plain text or over TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A mail that came, as it was sent, dots unstuffed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
    /// Who had logged in, and by which password.
    pub(crate) login: Option<(String, String)>,
    pub(crate) is_encrypted: bool,
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

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    Starttls,
    Tls,
}

/// What a sink does with whom.
struct Rules {
    encryption: Encryption,
    tls: Option<Arc<ServerConfig>>,
    /// The password that a login needs; without one, none is asked for.
    password: Option<String>,
    turned_away: Mutex<usize>,
    mails: Mutex<Vec<Mail>>,
}

/// A listening sink.
pub(crate) struct Sink {
    address: SocketAddr,
    rules: Arc<Rules>,
    folder: tempfile::TempDir,
}

impl Sink {
    /// Turns the first mails away, so many of them, for a while.
    pub(crate) fn start(turned_away: usize) -> Self {
        Self::listen(Encryption::None, None, turned_away)
    }

    /// Takes mails for whoever logs in by a password, over TLS as `localhost`.
    pub(crate) fn guarded(encryption: Encryption, password: &str) -> Self {
        Self::listen(encryption, Some(password.to_owned()), 0)
    }

    fn listen(encryption: Encryption, password: Option<String>, turned_away: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = (encryption != Encryption::None).then(|| certified(folder.path()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (turned_away, mails) = (Mutex::new(turned_away), Mutex::default());
        let rules = Arc::new(Rules { encryption, tls, password, turned_away, mails });
        let sink = Self { address: listener.local_addr().unwrap(), rules: Arc::clone(&rules), folder };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves early is no matter.
                let _ = Conversation::begin(stream, &rules).and_then(|mut talk| talk.run());
            }
        });
        sink
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate that it shows.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.rules.mails.lock().unwrap().clone()
    }
}

fn certified(folder: &Path) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One client.
struct Conversation<'r> {
    stream: Box<dyn Stream>,
    /// The socket, for as long as it is in plain text.
    plain: Option<TcpStream>,
    rules: &'r Rules,
    mail: Mail,
}

impl<'r> Conversation<'r> {
    fn begin(socket: TcpStream, rules: &'r Rules) -> std::io::Result<Self> {
        let plain = Some(socket.try_clone()?);
        let mut talk = Self { stream: Box::new(socket), plain, rules, mail: Mail::default() };
        if rules.encryption == Encryption::Tls {
            talk.encrypt();
        }
        talk.say("220 sink.test ESMTP")?;
        Ok(talk)
    }

    fn encrypt(&mut self) {
        let (Some(tls), Some(socket)) = (&self.rules.tls, self.plain.take()) else { return };
        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
        self.stream = Box::new(StreamOwned::new(connection, socket));
        self.mail.is_encrypted = true;
    }

    fn run(&mut self) -> std::io::Result<()> {
        while let Some(line) = self.line()? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let may = self.rules.password.is_none() || self.mail.login.is_some();
            match &*verb {
                "EHLO" if self.rules.encryption == Encryption::Starttls && !self.mail.is_encrypted => {
                    self.say("250-sink.test\r\n250 STARTTLS")?;
                }
                "EHLO" if self.rules.password.is_some() => self.say("250-sink.test\r\n250 AUTH PLAIN")?,
                "EHLO" => self.say("250-sink.test\r\n250 8BITMIME")?,
                "STARTTLS" => {
                    self.say("220 go on")?;
                    self.encrypt();
                }
                "AUTH" => self.log_in(&line)?,
                "MAIL" if !may => self.say("530 log in first")?,
                "MAIL" if self.turns_away() => self.say("451 try again later")?,
                "MAIL" => {
                    self.mail.from = line;
                    self.say("250 ok")?;
                }
                "RCPT" => {
                    self.mail.to.push(line);
                    self.say("250 ok")?;
                }
                "DATA" => self.take()?,
                "QUIT" => return self.say("221 bye"),
                _ => self.say("250 ok")?,
            }
        }
        Ok(())
    }

    fn turns_away(&self) -> bool {
        let mut left = self.rules.turned_away.lock().unwrap();
        let turns_away = *left > 0;
        *left = left.saturating_sub(1);
        turns_away
    }

    /// `AUTH PLAIN` with its initial response (RFC 4616).
    fn log_in(&mut self, line: &str) -> std::io::Result<()> {
        let response = STANDARD.decode(line.rsplit(' ').next().unwrap_or_default()).unwrap_or_default();
        let response = String::from_utf8(response).unwrap_or_default();
        let mut words = response.split('\0').skip(1);
        let (user, password) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if Some(password) != self.rules.password.as_deref() || !self.mail.is_encrypted {
            return self.say("535 no");
        }
        self.mail.login = Some((user.to_owned(), password.to_owned()));
        self.say("235 welcome")
    }

    fn take(&mut self) -> std::io::Result<()> {
        self.say("354 go on")?;
        while let Some(line) = self.line()?.filter(|line| line != ".") {
            self.mail.data += line.strip_prefix('.').unwrap_or(&line);
            self.mail.data.push('\n');
        }
        self.rules.mails.lock().unwrap().push(self.mail.clone());
        self.say("250 taken")
    }

    fn say(&mut self, answer: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("{answer}\r\n").as_bytes())?;
        self.stream.flush()
    }

    /// A line without its end; [`None`] when the client has left. Byte by byte: what follows `STARTTLS` is TLS.
    fn line(&mut self) -> std::io::Result<Option<String>> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.stream.read(&mut byte)? == 1 {
            if byte == *b"\n" {
                line.pop();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            line.push(byte[0]);
        }
        Ok(None)
    }
}
