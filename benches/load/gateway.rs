//! The gateway as a process of its own, so that its processor time can be told from everybody else's.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::Site;

/// A running gateway; it is killed when this is dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Imports the site's tokens and serves its configuration.
    pub(crate) fn start(site: &Site) -> Self {
        let tokens = site.tokens();
        let imported =
            tollgate(&["token", "import", &text(&tokens)], &site.configuration()).output().unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        let mut serve = tollgate(&["serve"], &site.configuration());
        let mut child = serve.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address =
            lines.find(|line| line.contains("listening (plain text)")).map(|line| address_in(&line));
        let gateway = Self { address: address.expect("the gateway ended before it listened"), child };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        gateway
    }

    /// Processor time that it has used, user and system; [`None`] where the system does not tell.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name before the last parenthesis may hold spaces; user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok());
        let ticks = ticks.sum::<Option<u64>>()?;
        Some(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tollgate(arguments: &[&str], configuration: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).arg("--config").arg(configuration).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The `address` of a line of the program's log.
fn address_in(line: &str) -> SocketAddr {
    let line: Value = serde_json::from_str(line).unwrap();
    let fields = line.get("fields").unwrap_or(&line);
    fields["address"].as_str().unwrap().parse().unwrap()
}
