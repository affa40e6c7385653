//! The gateways, what stands behind them, and who speaks with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use aws_lc_rs::rand::SystemRandom as Randomness;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use tollgate::clock::Clock;
use tollgate::config::load_registry;
use tollgate::domain::{Plan, Role};
use tollgate::tokens::{Act, Mint, NewWorkspace, SystemRandom, TokenRequest};

use crate::server::Server;

const ALERTS: &str = "/alerts";
const KEY: &str = "bench";

/// Gateways on one database.
pub(crate) struct Fleet {
    gateways: Vec<Gateway>,
    github: EcdsaKeyPair,
    /// A token that is not leaked.
    pub(crate) steady: String,
    /// Tokens that are.
    pub(crate) victims: Vec<String>,
    _folders: Vec<TempDir>,
    _server: Server,
}

struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Fleet {
    pub(crate) fn start(count: usize, victims: usize) -> Self {
        let server = Server::start();
        let (url, upstream) = (server.database(), upstream());
        let shared = tempfile::tempdir().unwrap();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let keys = json!({"public_keys": [{"key_identifier": KEY, "key": pair.public_key_pem(), "is_current": true}]});
        std::fs::write(shared.path().join("keys.json"), keys.to_string()).unwrap();
        let github =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pair.serialize_der()).unwrap();
        let mut folders = vec![shared];
        let file = written(folders[0].path(), folders[0].path(), &url, upstream);
        let mut tokens = tokens(&file, victims + 1);
        let gateways = (0..count)
            .map(|_| {
                let folder = tempfile::tempdir().unwrap();
                let gateway = Gateway::start(&written(folder.path(), folders[0].path(), &url, upstream));
                folders.push(folder);
                gateway
            })
            .collect();
        let steady = tokens.pop().unwrap();
        Self { gateways, github, steady, victims: tokens, _folders: folders, _server: server }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.gateways.iter().map(|gateway| gateway.address)
    }

    /// A signed alert of a token, a whole request.
    pub(crate) fn alert(&self, token: &str) -> Vec<u8> {
        let body =
            json!([{"token": token, "type": "token", "url": "https://example.com/a", "source": "commit"}]);
        let body = body.to_string();
        let signature = self.github.sign(&Randomness::new(), body.as_bytes()).unwrap();
        format!(
            "POST {ALERTS} HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\n\
             Github-Public-Key-Identifier: {KEY}\r\nGithub-Public-Key-Signature: {}\r\nContent-Length: {}\r\n\r\n{body}",
            STANDARD.encode(signature),
            body.len()
        )
        .into_bytes()
    }
}

impl Gateway {
    fn start(file: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["serve", "--config"]).arg(file).stdin(Stdio::null()).env_remove("RUST_LOG");
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("listening (plain text)")).unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        let fields = record.get("fields").unwrap_or(&record);
        let address = fields["address"].as_str().unwrap().parse().unwrap();
        // What it says later must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a configuration into a folder; pepper and keys are in the shared one.
fn written(folder: &Path, shared: &Path, url: &str, upstream: SocketAddr) -> std::path::PathBuf {
    let shared = shared.display();
    let text = format!(
        "[listen]\nplain = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\naddress = \"127.0.0.1:0\"\n[logs]\naccess = \"off\"\n\
         [upstream]\nservers = [\"http://{upstream}\"]\n[tokens]\nstore = {url:?}\npepper_file = \"{shared}/pepper\"\n\
         [secret_scanning]\npath = {ALERTS:?}\nkeys_file = \"{shared}/keys.json\"\n\
         [[endpoints.extra]]\noperation = \"data\"\nmethod = \"GET\"\npath = \"/v1/data\"\n\
         [[limits.policies]]\nname = \"caller\"\nper = [\"token\"]\nquota = \"1000000 per second\"\n"
    );
    let file = folder.join("tollgate.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// New tokens of one workspace.
fn tokens(file: &Path, count: usize) -> Vec<String> {
    let loaded = load_registry(file, &|_| None).ok().unwrap();
    let clock = Clock::system();
    let mint = Mint::open(&loaded.tokens, &loaded.regions, Box::new(SystemRandom), clock.now()).unwrap();
    let act = Act::by("bench", clock.now());
    let workspace = NewWorkspace {
        id: "ws".into(),
        region: "main".into(),
        plan: Plan::Business,
        features: Vec::new(),
        contacts: Vec::new(),
    };
    mint.create_workspace(act, &workspace).unwrap();
    let request = TokenRequest {
        workspace: "ws".into(),
        name: "bench".into(),
        scopes: Vec::new(),
        role: Role::Restricted,
        own_limit: None,
        lifetime_seconds: None,
        allowed_networks: Vec::new(),
        decoy: false,
    };
    (0..count).map(|_| mint.create_token(act, &request).unwrap().token.into_exposed()).collect()
}

/// Answers every request with a few bytes.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut connection = Connection::over(stream);
                while connection.head().is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    if connection.stream.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A request that uses a token.
pub(crate) fn request(token: &str) -> Vec<u8> {
    format!("GET /v1/data HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// A keep-alive connection, from either side.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a request and reads its answer; the status.
    pub(crate) fn send(&mut self, request: &[u8]) -> u16 {
        self.stream.get_mut().write_all(request).unwrap();
        let head = self.head().unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().unwrap())
        });
        let mut body = Vec::new();
        (&mut self.stream).take(length.unwrap()).read_to_end(&mut body).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next head; [`None`] at the end.
    fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let read = self.stream.read_line(&mut head).ok()?;
            if read == 0 {
                return None;
            }
            if head.ends_with("\r\n\r\n") {
                return Some(head);
            }
        }
    }
}
