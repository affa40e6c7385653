//! Starts the binary, waits for conditions, and ends what it started.

mod client;
mod config;
mod github;
mod h2;
mod jwt;
mod metrics;
mod receiver;
mod smtp;
mod upstream;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use client::{Answer, Client, ask_admin, raw, request, send_admin};
pub(crate) use config::{Gateway, config, make_workspaces, segment_table};
pub(crate) use github::{GitHub, alert};
pub(crate) use h2::H2;
pub(crate) use jwt::{Signer, claims, now};
pub(crate) use metrics::Metrics;
pub(crate) use receiver::{Hook, Receiver};
pub(crate) use smtp::{Encryption, Sink};
pub(crate) use upstream::{Behaviour, Upstream};

/// How long anything may take that should happen at once; generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The binary with these arguments and nothing of this process's settings.
pub(crate) fn tollgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .args(arguments)
        .env_remove("TOLLGATE_CONFIG")
        .env_remove("TOLLGATE_OPERATOR_TOKEN")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    tollgate(arguments).output().unwrap()
}

/// Runs a command that has to succeed and writes one JSON value.
pub(crate) fn run_json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a process has written so far.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<String>>, Arc<AtomicBool>);

impl Written {
    fn follow(from: impl Read + Send + 'static) -> Self {
        let written = Self::default();
        let into = written.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                into.0.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
            into.1.store(true, Ordering::SeqCst);
        });
        written
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Written,
    pub(crate) stderr: Written,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Written::follow(child.stdout.take().unwrap());
        let stderr = Written::follow(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end of the process and of what it wrote.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = until("the end of the process", || self.ended());
        let streams = [&self.stdout, &self.stderr];
        until("the end of its output", || {
            streams.iter().all(|written| written.1.load(Ordering::SeqCst)).then_some(())
        });
        status
    }

    /// The address in the log's line that says so, the first or a later one.
    pub(crate) fn listening(&self, what: &str, place: usize) -> Option<SocketAddr> {
        let text = self.stderr.text();
        let line = text.lines().filter(|line| line.contains(what)).nth(place)?;
        let line: Value = serde_json::from_str(line).unwrap();
        let fields = line.get("fields").unwrap_or(&line);
        Some(fields["address"].as_str().unwrap().parse().unwrap())
    }

    /// Everything that it has written anywhere.
    pub(crate) fn output(&self) -> String {
        self.stdout.text() + &self.stderr.text()
    }

    /// Memory in use, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `tollgate demo --json` on free ports.
pub(crate) struct Demo {
    pub(crate) process: Process,
    pub(crate) json: Value,
    pub(crate) ready_after: Duration,
}

impl Demo {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let started = Instant::now();
        let ports = ["demo", "--json", "--port", "0", "--tls-port", "0", "--admin-port", "0"];
        let mut process = Process::start(tollgate(&[&ports[..], arguments].concat()));
        let line = until("the demo's line of JSON", || {
            let text = process.stdout.text();
            assert!(process.ended().is_none(), "the demo ended: {}", process.stderr.text());
            text.find('\n').map(|end| text[..end].to_owned())
        });
        let ready_after = started.elapsed();
        Self { process, json: serde_json::from_str(&line).unwrap(), ready_after }
    }

    /// A text of the line, by its JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        let value = self.json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.json));
        value.as_str().unwrap()
    }

    pub(crate) fn path(&self, pointer: &str) -> PathBuf {
        PathBuf::from(self.text(pointer))
    }

    pub(crate) fn token(&self, name: &str) -> &str {
        self.text(&format!("/tokens/{name}/token"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(self.text("/public"))
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        address(self.text("/public_tls"))
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        address(self.text("/admin"))
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// One request with a token of the line.
    pub(crate) fn ask(&self, token: &str, method: &str, target: &str) -> Answer {
        self.connect().send(&request(method, target, self.token(token), ""))
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin())
    }
}

/// The address in a URL without a path.
pub(crate) fn address(url: &str) -> SocketAddr {
    url.rsplit('/').next().unwrap().parse().unwrap()
}
