//! A request counts as in flight until its answer has ended, however it ends, and not a moment longer.

use crate::support::{Behaviour, Client, Gateway, H2, Upstream, config, request, until};

struct World {
    upstream: Upstream,
    gateway: Gateway,
    token: String,
}

fn caps(per_token: u32, per_workspace: u32) -> String {
    format!(
        "[upstream]\nfirst_byte_timeout_seconds = 120\nidle_timeout_seconds = 2\n[limits.in_flight]\n\
         per_token = {per_token}\nper_workspace = {per_workspace}\ntotal = 50\n"
    )
}

impl World {
    fn new(caps: &str) -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), caps));
        let (_, token) = gateway.token("ws-us", &[]);
        Self { upstream, gateway, token }
    }

    fn ask(&self) -> (u16, String) {
        let answer = self.gateway.ask(&self.token, "/sources");
        if answer.status == 200 { (200, String::new()) } else { answer.said() }
    }

    fn bytes(&self, more: &str) -> Vec<u8> {
        request(if more.is_empty() { "GET" } else { "POST" }, "/sources", &self.token, more)
    }

    /// Starts something and waits until it has reached the upstream, so that it is counted.
    fn started<T>(&self, start: impl FnOnce() -> T) -> T {
        let seen = self.upstream.bytes().len();
        let started = start();
        until("the upstream to see it", || (self.upstream.bytes().len() > seen).then_some(()));
        started
    }

    fn assert_full(&self) {
        assert_eq!(self.ask(), (429, "too_many_in_flight".to_owned()));
    }

    /// Waits until the one place is free, and that it is free for good.
    fn until_free(&self, after: &str) {
        self.upstream.behave(Behaviour::status(200, "us"));
        until(after, || (self.ask().0 == 200).then_some(()));
        let mut client = self.gateway.connect();
        // The one that was asked on another connection may still be counted for a moment.
        until(after, || (0..20).all(|_| client.send(&self.bytes("")).status == 200).then_some(()));
    }
}

#[test]
fn a_client_that_leaves_at_any_stage_gives_its_place_back() {
    let world = World::new(&caps(1, 1));
    let part = "Content-Length: 100000\r\n";
    for (stage, behaviour, fields, body) in [
        ("while it sends its body", Behaviour::Hang, part, &b"part of it"[..]),
        ("while it sends chunks", Behaviour::Hang, "Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n"),
        ("while it waits for the answer", Behaviour::Hang, "", b""),
        (
            "while it reads the answer",
            Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\npart".to_owned()),
            "",
            b"",
        ),
    ] {
        world.upstream.behave(behaviour);
        let mut client: Client = world.gateway.connect();
        world.started(|| client.write(&[&world.bytes(fields)[..], body].concat()));
        if stage.contains("reads") {
            assert_eq!(client.read_head().status, 200);
        }
        world.assert_full();
        drop(client);
        world.until_free(stage);
    }
}

#[test]
fn a_stream_that_is_reset_gives_its_place_back() {
    let world = World::new(&caps(1, 1));
    let mut h2 = H2::connect(world.gateway.address);
    for turn in 0..3 {
        world.upstream.behave(Behaviour::Hang);
        let pending = world.started(|| h2.start("GET", "/sources", &world.token));
        world.assert_full();
        pending.abort();
        world.until_free(&format!("the reset of stream {turn}"));
    }
    assert_eq!(h2.ask("GET", "/sources", &world.token).status, 200, "the connection goes on");
    world.upstream.behave(Behaviour::Hang);
    let _pending = world.started(|| h2.start("GET", "/sources", &world.token));
    world.assert_full();
    drop(h2);
    world.until_free("the end of the connection");
}

#[test]
fn an_upstream_that_fails_gives_the_place_back() {
    let world = World::new(&caps(1, 1).replace("= 120", "= 1"));
    for (behaviour, reason) in [
        (Behaviour::Close, "upstream_broken"),
        (Behaviour::Reset, "upstream_broken"),
        (Behaviour::Answer("no HTTP at all\r\n\r\n".to_owned()), "upstream_broken"),
        (Behaviour::Hang, "upstream_timeout"),
    ] {
        world.upstream.behave(behaviour);
        // The last one that found it free may still be counted for a moment.
        let answer = until(reason, || {
            let answer = world.gateway.connect().send(&world.bytes("Content-Length: 0\r\n"));
            (answer.reason() != "too_many_in_flight").then_some(answer)
        });
        assert_eq!(answer.reason(), reason);
        world.until_free(reason);
    }
}

#[test]
fn a_refused_request_takes_no_place() {
    let world = World::new(&caps(2, 1));
    world.upstream.behave(Behaviour::Hang);
    let mut client = world.gateway.connect();
    world.started(|| client.write(&world.bytes("")));
    for _ in 0..20 {
        let refused = world.gateway.ask(&world.token, "/sources");
        assert_eq!(refused.said(), (429, "too_many_in_flight".to_owned()));
        assert_eq!(refused.error()["data"]["policy"], "in_flight_workspace");
        assert_eq!(world.gateway.ask(&world.token, "/sources//x").status, 400);
    }
    drop(client);
    world.until_free("twenty refusals");
}

#[test]
fn a_reload_keeps_what_is_in_flight_counted() {
    let world = World::new(&caps(1, 10));
    let reload = |per_token: u32| {
        let generation = || {
            let status = world.gateway.operate("GET", "/status.json", "").json();
            status["config"]["generation"].as_u64().unwrap()
        };
        let before = generation();
        let text = config(&world.upstream.url(), &world.upstream.url(), &caps(per_token, 10));
        std::fs::write(&world.gateway.file, text).unwrap();
        until("the reload", || (generation() > before).then_some(()));
    };
    let hang = || {
        let mut client = world.gateway.connect();
        world.started(|| client.write(&world.bytes("")));
        client
    };
    world.upstream.behave(Behaviour::Hang);
    let first = hang();
    world.assert_full();
    reload(3);
    let (second, third) = (hang(), hang());
    world.assert_full();
    reload(1);
    drop((second, third));
    until("the end of the others", || {
        (world.gateway.metrics().count("tollgate_in_flight", &[]) == 1).then_some(())
    });
    assert_eq!(world.ask().0, 429, "the first is still there");
    drop(first);
    world.until_free("two reloads");
}
