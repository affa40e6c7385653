//! Eight replicas are restarted one after the other behind a balancer that follows `/readyz`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::load::{Limit, Targets, offer};
use super::{Fleet, is_long};
use crate::support::{Client, Gateway, until};

const LIMIT: Limit = Limit { rate: 20, burst: 40 };
const OFFERED: u32 = 100;
const CLIENTS: u32 = 8;

struct HaProxy {
    process: Child,
    address: SocketAddr,
}

impl HaProxy {
    /// Debian's, in front of replicas, each with its public and its admin port.
    fn start(folder: &Path, replicas: &[(u16, u16)]) -> Self {
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let servers: Vec<String> = (1..)
            .zip(replicas)
            .map(|(number, (port, admin))| {
                format!("  server r{number} 127.0.0.1:{port} check port {admin} inter 100 fall 1 rise 1\n")
            })
            .collect();
        let text = format!(
            "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  \
             timeout server 30s\n  timeout check 5s\n  option redispatch\n  retries 3\nfrontend f\n  bind {address}\n  \
             default_backend b\nbackend b\n  balance roundrobin\n  option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 \
             hdr Host localhost\n  http-check expect status 200\n{}",
            servers.concat()
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(haproxy());
        command
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        until("HAProxy to listen", || Client::try_connect(address).ok());
        Self { process, address }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn haproxy() -> &'static str {
    let places = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"];
    places.into_iter().find(|place| Path::new(place).exists()).unwrap_or("haproxy")
}

/// Ports that nobody has, each once: all are held until all are known.
fn free_ports<const MANY: usize>() -> [u16; MANY] {
    let held = [(); MANY].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// No request fails, and the limit holds across all restarts.
#[test]
fn a_rolling_restart_fails_nobody() {
    let mut fleet = Fleet::start(0, LIMIT);
    let ports: Vec<(u16, u16)> = free_ports::<16>().chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let config =
        |fleet: &Fleet, (port, admin): (u16, u16)| {
            let text = fleet.config(fleet.redis.port(), "drain_delay_seconds = 1\n");
            text.replacen("plain = [\"127.0.0.1:0\"]", &format!("plain = [\"127.0.0.1:{port}\"]"), 1)
                .replacen("address = \"127.0.0.1:0\"", &format!("address = \"127.0.0.1:{admin}\""), 1)
        };
    for ports in &ports {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tollgate.toml"), config(&fleet, *ports)).unwrap();
        fleet.replicas.push(Gateway::serve_in(folder));
    }
    let token = fleet.token();
    let proxy = HaProxy::start(fleet.shared.path(), &ports);
    until("HAProxy to see a replica", || {
        let asked = Client::connect(proxy.address).send(&crate::support::request(
            "GET",
            "/tollgate/v1/whoami",
            &token,
            "",
        ));
        (asked.status == 200).then_some(())
    });
    let restarts = if is_long() { 16 } else { 8 };
    let outcome = offer(&Targets::new(vec![proxy.address]), &token, OFFERED, CLIENTS, || {
        for restart in 0..restarts {
            let mut old = fleet.replicas.remove(0);
            old.process.signal("TERM");
            assert!(old.process.wait().success());
            fleet.replicas.push(Gateway::serve_in(old.into_folder()));
            let (_, admin) = ports[restart % ports.len()];
            let admin = SocketAddr::from(([127, 0, 0, 1], admin));
            until("it to be ready", || {
                (crate::support::ask_admin(admin, "/readyz").status == 200).then_some(())
            });
            // HAProxy asks ten times a second.
            thread::sleep(Duration::from_millis(300));
        }
    });
    outcome.print("rolling restart", LIMIT);
    outcome.assert_no_errors();
    outcome.assert_within(LIMIT, 0.0);
    outcome.assert_uses(LIMIT, 0.95);
}
