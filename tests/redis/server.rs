//! A Redis server of a test's own: Debian's package, a temporary folder, a private port. It ends with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running server, or one that was killed and can be started again.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// Starts an empty server that keeps nothing on a disk.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// As [`Server::start`] with more arguments.
    pub(crate) fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = more.iter().map(|&argument| argument.to_owned()).collect();
        let server = Self { folder, port, arguments, process: Mutex::new(None) };
        server.go();
        server
    }

    /// Starts it (again), empty, and waits until it answers.
    pub(crate) fn go(&self) {
        let log = || std::fs::File::create(self.folder.path().join("log")).unwrap();
        let spawned = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--dir", self.folder.path().to_str().unwrap(), "--maxmemory-policy", "noeviction"])
            .args(["--repl-diskless-sync-delay", "0"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(Stdio::null())
            .spawn();
        let child = spawned.unwrap_or_else(|error| {
            panic!("redis-server: {error}; apt-get install redis-server, or leave these tests out as tests/run does")
        });
        *self.process.lock().unwrap() = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.try_ask("PING").is_some_and(|answer| answer == "PONG" || answer.starts_with("NOAUTH")) {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "Redis does not start: {}", log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once, as a crash would. What it held is gone.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.lock().unwrap();
        let id = process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// The answer to a command of words without spaces, on a connection of its own; of a list the first element.
    pub(crate) fn ask(&self, command: &str) -> String {
        self.try_ask(command).unwrap_or_else(|| panic!("no answer to {command}"))
    }

    fn try_ask(&self, command: &str) -> Option<String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        (&stream).write_all(format!("{command}\r\n").as_bytes()).ok()?;
        read(&mut BufReader::new(stream))
    }
}

fn read(from: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let line = line.trim_end();
    let rest = line.get(1..)?;
    match line.as_bytes().first()? {
        b'$' => {
            let Ok(length) = rest.parse::<usize>() else { return Some(String::new()) };
            let mut text = vec![0; length];
            from.read_exact(&mut text).ok()?;
            String::from_utf8(text).ok()
        }
        b'*' if rest != "0" => read(from),
        _ => Some(rest.to_owned()),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
