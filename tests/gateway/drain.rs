//! SIGTERM: readiness goes first, everything that was accepted is answered, the end comes in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Behaviour, Client, Gateway, H2, Upstream, ask_admin, config, request, until};

fn gateway(upstream: &Upstream, delay_seconds: u64, timeout_seconds: u64) -> Gateway {
    let text = config(&upstream.url(), &upstream.url(), "");
    let drain = format!(
        "[listen]\ndrain_delay_seconds = {delay_seconds}\ndrain_timeout_seconds = {timeout_seconds}\n"
    );
    let plain =
        "[[limits.policies]]\nname = \"default\"\nper = [\"token\"]\nquota = \"1000000 per second\"\n";
    Gateway::start(&(text.replacen("[listen]\n", &drain, 1) + plain))
}

fn requests(upstream: &Upstream) -> usize {
    upstream.text().matches("GET /sources HTTP/1.1\r\n").count()
}

#[test]
fn under_load_every_accepted_request_is_answered() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut gateway = gateway(&upstream, 0, 10);
    let (_, token) = gateway.token("ws-us", &[]);
    let answered = Arc::new(AtomicUsize::new(0));
    let closing = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = gateway.connect();
        let bytes = request("GET", "/sources", &token, "");
        let (answered, closing) = (Arc::clone(&answered), Arc::clone(&closing));
        clients.push(thread::spawn(move || {
            loop {
                let answer = client.send(&bytes);
                assert_eq!(answer.status, 200);
                answered.fetch_add(1, Ordering::SeqCst);
                if answer.field("connection") == Some("close") {
                    closing.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(client.read_to_end().unwrap(), b"", "nothing behind the last answer");
                    return;
                }
            }
        }));
    }
    for _ in 0..4 {
        let mut client = H2::connect(gateway.address);
        let token = token.clone();
        let answered = Arc::clone(&answered);
        clients.push(thread::spawn(move || {
            loop {
                match client.try_ask("GET", "/sources", &token) {
                    Ok(answer) => assert_eq!(answer.status, 200),
                    // A GOAWAY came first: the request was never taken, and may be sent elsewhere.
                    Err(error) => {
                        assert!(error.is_canceled() || error.is_closed(), "{error:?}");
                        return;
                    }
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    until("load", || (answered.load(Ordering::SeqCst) > 500).then_some(()));
    gateway.process.signal("TERM");
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.process.stderr.text());
    assert_eq!(requests(&upstream), answered.load(Ordering::SeqCst), "forwarded and answered");
    assert_eq!(closing.load(Ordering::SeqCst), 6, "each HTTP/1.1 client was told to close");
    let records = gateway.process.stdout.text().matches("\"outcome\":\"forwarded\"").count();
    assert_eq!(records, answered.load(Ordering::SeqCst), "one record each");
}

#[test]
fn slow_requests_are_finished() {
    let upstream = Upstream::start(Behaviour::Pause);
    let mut gateway = gateway(&upstream, 0, 15);
    let (_, token) = gateway.token("ws-us", &[]);
    let mut h1 = gateway.connect();
    h1.write(&request("GET", "/sources", &token, ""));
    let address = gateway.address;
    let h2 = thread::spawn(move || H2::connect(address).ask("GET", "/sources", &token).status);
    until("both requests upstream", || (requests(&upstream) == 2).then_some(()));
    let mut idle = gateway.connect();
    gateway.process.signal("TERM");
    assert_eq!(idle.read_to_end().unwrap(), b"", "an idle connection is closed");
    assert!(gateway.process.ended().is_none(), "it waits for those that are busy");
    upstream.go_on();
    let answer = h1.read(false);
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert_eq!(h2.join().unwrap(), 200);
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[test]
fn the_deadline_ends_what_never_ends() {
    let upstream = Upstream::start(Behaviour::Hang);
    let mut gateway = gateway(&upstream, 0, 1);
    let (_, token) = gateway.token("ws-us", &[]);
    let mut stuck = gateway.connect();
    stuck.write(&request("GET", "/sources", &token, ""));
    until("the request upstream", || (requests(&upstream) == 1).then_some(()));
    let told = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert!(gateway.process.stdout.text().contains("/sources"), "it has its record");
}

#[test]
fn readiness_goes_first_while_everything_is_still_served() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut gateway = gateway(&upstream, 2, 10);
    let (_, token) = gateway.token("ws-us", &[]);
    let ready = |gateway: &Gateway| ask_admin(gateway.admin, "/readyz");
    assert_eq!(ready(&gateway).status, 200);
    gateway.process.signal("TERM");
    let answer = until("readiness to go", || {
        let answer = ready(&gateway);
        (answer.status == 503).then_some(answer)
    });
    assert!(String::from_utf8_lossy(&answer.body).contains("draining"));
    for _ in 0..3 {
        let answer = gateway.ask(&token, "/sources");
        assert_eq!(answer.status, 200, "a balancer may still send new connections");
        assert_eq!(answer.field("connection"), None);
    }
    assert_eq!(ask_admin(gateway.admin, "/livez").status, 200);
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[test]
fn new_connections_during_the_end_are_answered_or_refused_but_never_cut() {
    let upstream = Upstream::start(Behaviour::status(200, "us"));
    let mut gateway = gateway(&upstream, 0, 10);
    let (_, token) = gateway.token("ws-us", &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let (address, stopping) = (gateway.address, Arc::clone(&stop));
    let knocking = thread::spawn(move || {
        let bytes = request("GET", "/sources", &token, "");
        let (mut served, mut cut) = (0_usize, 0_usize);
        while !stopping.load(Ordering::SeqCst) {
            let Ok(mut client) = Client::try_connect(address) else { break };
            match client.try_write(&bytes).and_then(|()| client.try_read(false)) {
                Ok(answer) => {
                    assert_eq!(answer.status, 200);
                    served += 1;
                }
                Err(_) => cut += 1,
            }
        }
        (served, cut)
    });
    until("load", || (requests(&upstream) > 100).then_some(()));
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
    stop.store(true, Ordering::SeqCst);
    let (served, cut) = knocking.join().unwrap();
    assert_eq!(served, requests(&upstream), "what was forwarded was answered");
    // The kernel resets what it accepts between a listener's last look and its end: at most one of ours each.
    let listeners = thread::available_parallelism().unwrap().get();
    assert!(cut <= listeners, "{cut} connections were accepted and not answered");
}
