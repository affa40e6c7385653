//! `tollgate serve` on a configuration of one's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Client, Metrics, Process, request, run_json, send_admin, tollgate, until};

/// The workspaces that every such gateway has: id and region.
pub(crate) const WORKSPACES: [(&str, &str); 2] = [("ws-us", "us"), ("ws-eu", "eu")];

/// Gateways that start at once on one registry name their operators one after the other.
static NAMING: Mutex<()> = Mutex::new(());

/// The key that names Segment's endpoint table.
pub(crate) fn segment_table() -> String {
    format!("tables = [{:?}]\n", concat!(env!("CARGO_MANIFEST_DIR"), "/config/endpoints.toml"))
}

/// A configuration of two regions with these upstreams; `more` is added at the end. Without an `[endpoints]` of
/// its own it has Segment's, without `[logs]` an access log on standard output.
pub(crate) fn config(us: &str, eu: &str, more: &str) -> String {
    let table = if more.contains("[endpoints]") {
        String::new()
    } else {
        format!("[endpoints]\n{}", segment_table())
    };
    let logs = if more.contains("[logs]") { "" } else { "[logs]\ndestination = \"stdout\"" };
    format!(
        r#"
[listen]
plain = ["127.0.0.1:0"]
[admin]
address = "127.0.0.1:0"
[regions.us]
letter = "u"
base_url = "https://us.example"
upstreams = [{us:?}]
[regions.eu]
letter = "e"
base_url = "https://eu.example"
upstreams = [{eu:?}]
{logs}
{table}
{more}
"#
    )
}

/// A folder with a registry: two workspaces, and tokens made by the command line.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) file: PathBuf,
    /// An operator's token.
    pub(crate) operator: String,
    pub(crate) folder: TempDir,
}

impl Gateway {
    /// Makes the workspaces and starts.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    /// As [`Gateway::start`] in a folder that may hold a registry already.
    pub(crate) fn start_in(folder: TempDir, config: &str) -> Self {
        let file = folder.path().join("tollgate.toml");
        let is_new = !folder.path().join("tollgate.db").exists();
        std::fs::write(&file, config).unwrap();
        if is_new {
            make_workspaces(&file);
        }
        Self::serve_in(folder)
    }

    /// Starts on the configuration that a folder has, and makes nothing.
    pub(crate) fn serve_in(folder: TempDir) -> Self {
        let file = folder.path().join("tollgate.toml");
        let name = file.to_str().unwrap().to_owned();
        let counting = NAMING.lock().unwrap();
        let operators =
            run_json(&["operator", "--config", &name, "list", "--json"]).as_array().unwrap().len();
        let operator = format!("test-{operators}");
        let operator =
            text(&run_json(&["operator", "--config", &name, "create", &operator, "--json"]), "token");
        drop(counting);
        let (process, address, admin) = serve(&name);
        Self { process, address, admin, file, operator, folder }
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(&mut self) {
        self.process.signal("TERM");
        assert!(self.process.wait().success(), "{}", self.process.stderr.text());
    }

    /// Starts it again after its end, with all that its folder has.
    pub(crate) fn go(&mut self) {
        (self.process, self.address, self.admin) = serve(self.file.to_str().unwrap());
    }

    /// Ends it and keeps the registry.
    pub(crate) fn into_folder(self) -> TempDir {
        drop(self.process);
        self.folder
    }

    /// A new token: its id and itself.
    pub(crate) fn token(&self, workspace: &str, more: &[&str]) -> (String, String) {
        let file = self.file.to_str().unwrap();
        let base = ["token", "--config", file, "create", "--json", "--workspace", workspace];
        let made = run_json(&[&base[..], more].concat());
        let (id, token) = (text(&made, "id"), text(&made, "token"));
        until("the gateway to know the token", || {
            (self.ask(&token, "/tollgate/v1/whoami").status == 200).then_some(())
        });
        (id, token)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn ask(&self, token: &str, target: &str) -> Answer {
        self.connect().send(&request("GET", target, token, ""))
    }

    /// Sends the admin API a request as its operator.
    pub(crate) fn operate(&self, method: &str, path: &str, body: &str) -> Answer {
        self.operate_with(method, path, "", body)
    }

    /// As [`Gateway::operate`] with more fields, which are whole lines.
    pub(crate) fn operate_with(&self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        let fields = format!("Authorization: Bearer {}\r\n{fields}", self.operator);
        send_admin(self.admin, method, path, &fields, body)
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin)
    }
}

/// Starts the gateway of a configuration: it, where it listens, and where operators look.
fn serve(config: &str) -> (Process, SocketAddr, SocketAddr) {
    let mut process = Process::start(tollgate(&["serve", "--config", config]));
    let listening = |what: &str, process: &mut Process| {
        until(what, || {
            assert!(process.ended().is_none(), "the gateway ended: {}", process.stderr.text());
            process.listening(what, 0)
        })
    };
    let admin = listening("operators' listener", &mut process);
    let address = listening("listening (plain text)", &mut process);
    (process, address, admin)
}

/// Makes [`WORKSPACES`].
pub(crate) fn make_workspaces(config: &Path) {
    let name = config.to_str().unwrap();
    for (id, region) in WORKSPACES {
        run_json(&["workspace", "--config", name, "create", id, "--region", region, "--json"]);
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
