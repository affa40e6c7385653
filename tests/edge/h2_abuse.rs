//! HTTP/2 floods: they end the connection that sends them, cost the upstream little, and nobody else notices.

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, Said,
    WINDOW_UPDATE, block, frame, request_fields,
};
use crate::support::{Behaviour, Gateway, Upstream, config, until};

const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// More than any connection may send of a kind that serves no request.
const FLOOD: u32 = 20_000;

struct Flooded {
    gateway: Gateway,
    upstream: Upstream,
    token: String,
    block: Vec<u8>,
}

impl Flooded {
    fn start(behaviour: Behaviour) -> Self {
        let upstream = Upstream::start(Behaviour::status(200, "us"));
        let gateway = Gateway::start(&config(&upstream.url(), &upstream.url(), ""));
        let (_, token) = gateway.token("ws-us", &[]);
        upstream.behave(behaviour);
        let credential = format!("Bearer {token}");
        let block = block(&request_fields(&credential));
        Self { gateway, upstream, token, block }
    }

    fn request(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &self.block)
    }

    /// That others are served while and after this happens.
    fn others_are_served(&self) {
        self.upstream.behave(Behaviour::status(200, "us"));
        assert_eq!(self.gateway.ask(&self.token, "/sources").status, 200);
    }
}

/// Streams that are reset at once (CVE-2023-44487).
#[test]
fn rapid_resets_end_the_connection_and_spare_the_upstream() {
    let flooded = Flooded::start(Behaviour::Hang);
    let mut frames = Frames::connect(flooded.gateway.address);
    let mut sent = 0;
    for stream in (1..2_000).step_by(2) {
        let mut bytes = flooded.request(stream);
        bytes.extend_from_slice(&frame(RST_STREAM, 0, stream, &CANCEL));
        if !frames.try_write(&bytes) {
            break;
        }
        sent += 1;
    }
    assert!(matches!(frames.end(), Said::GoAway(_) | Said::Closed), "after {sent}");
    assert!(flooded.upstream.connections() <= 200, "{} upstream connections", flooded.upstream.connections());
    flooded.others_are_served();
}

/// Streams that are reset when the answer's head has come, while its body is still arriving.
#[test]
fn resets_behind_the_answers_head_count_as_resets() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let flooded = Flooded::start(Behaviour::Answer(head.to_owned()));
    let mut frames = Frames::connect(flooded.gateway.address);
    let mut resets = 0;
    for stream in (1..1_000).step_by(2) {
        if !frames.try_write(&flooded.request(stream)) {
            break;
        }
        // Later statuses stand in the dynamic table, which this client does not keep.
        match frames.answer(stream) {
            Said::Status(_) => {}
            Said::GoAway(_) | Said::Closed => break,
            other => panic!("{other:?} on {stream}"),
        }
        if !frames.try_write(&frame(RST_STREAM, 0, stream, &CANCEL)) {
            break;
        }
        resets += 1;
    }
    assert!((50..=60).contains(&resets), "ended after {resets} resets");
    flooded.others_are_served();
}

/// Streams that the client makes the gateway reset (CVE-2025-8671).
#[test]
fn resets_that_we_are_made_to_send_count_as_resets() {
    for name in ["window of zero", "window too large", "data behind the end", "half a frame of priority"] {
        let flooded = Flooded::start(Behaviour::Hang);
        let mut frames = Frames::connect(flooded.gateway.address);
        let mut sent = 0;
        for stream in (1..4_000).step_by(2) {
            let provocation = match name {
                "window of zero" => frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
                "window too large" => frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
                "data behind the end" => frame(DATA, 0, stream, b"x"),
                _ => frame(PRIORITY, 0, stream, &[0; 4]),
            };
            if !frames.try_write(&[flooded.request(stream), provocation].concat()) {
                break;
            }
            sent += 1;
        }
        assert!(matches!(frames.end(), Said::GoAway(_) | Said::Closed), "{name} after {sent}");
        assert!(flooded.upstream.connections() <= 250, "{name}: {} upstream", flooded.upstream.connections());
        flooded.others_are_served();
    }
}

/// A header block that never ends (CVE-2024-27316), in frames that are empty, small or full.
#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let flooded = Flooded::start(Behaviour::Hang);
    for length in [0, 1, 100, 10_000] {
        let mut frames = Frames::connect(flooded.gateway.address);
        frames.write(&frame(HEADERS, END_STREAM, 1, &flooded.block));
        let padding = block(&[(b"x", &vec![b'y'; length])]);
        let part = frame(CONTINUATION, 0, 1, if length == 0 { &[] } else { &padding });
        let mut sent = 0;
        while sent < FLOOD && frames.try_write(&part) {
            sent += 1;
        }
        assert!(sent < FLOOD, "frames of {length} bytes: {sent} were taken");
        flooded.others_are_served();
    }
    assert_eq!(flooded.upstream.text().matches("GET /sources").count(), 4, "only the others' requests");
}

/// Frames that serve no request: nobody else notices, memory does not grow.
#[test]
fn floods_of_control_frames_harm_nobody() {
    let flooded = Flooded::start(Behaviour::Hang);
    let before = flooded.gateway.process.resident_bytes();
    let settings = [0, 3, 0, 0, 0, 100];
    let all = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &settings),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 10]),
        frame(0x77, 0, 0, &[0; 8]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    ];
    for part in all {
        let mut frames = Frames::connect(flooded.gateway.address);
        let batch = part.repeat(100);
        for _ in 0..FLOOD / 100 {
            // Nobody reads what is said, and no answer may be held back without a bound.
            if !frames.try_write_in_time(&batch) {
                break;
            }
        }
        flooded.others_are_served();
    }
    let after = flooded.gateway.process.resident_bytes();
    assert!(after < before + 16 * 1024 * 1024, "{before} bytes before, {after} after");
}

/// Empty DATA frames of an open upload.
#[test]
fn a_flood_of_empty_data_harms_nobody() {
    let flooded = Flooded::start(Behaviour::Hang);
    let mut frames = Frames::connect(flooded.gateway.address);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &flooded.block));
    let batch = frame(DATA, 0, 1, &[]).repeat(100);
    for _ in 0..FLOOD / 100 {
        if !frames.try_write_in_time(&batch) {
            break;
        }
    }
    flooded.others_are_served();
}

/// One request that is small on the wire and large in memory: a field that is indexed again and again.
#[test]
fn a_header_bomb_is_refused() {
    let flooded = Flooded::start(Behaviour::Hang);
    let mut frames = Frames::connect(flooded.gateway.address);
    let mut bomb = flooded.block.clone();
    // A literal with incremental indexing, then its index 62 over and over.
    bomb.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend_from_slice(&[b'y'; 4_000]);
    bomb.extend_from_slice(&[0xbe; 10_000]);
    frames.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
    let said = frames.answer(1);
    assert!(matches!(said, Said::Status(431) | Said::Reset(_) | Said::GoAway(_) | Said::Closed), "{said:?}");
    flooded.others_are_served();
    assert_eq!(flooded.upstream.text().matches("GET /sources").count(), 1);
}

/// More streams than are allowed are refused, one by one.
#[test]
fn more_streams_than_allowed_are_refused() {
    let flooded = Flooded::start(Behaviour::Hang);
    let mut frames = Frames::connect(flooded.gateway.address);
    for stream in (1..=201).step_by(2) {
        frames.write(&flooded.request(stream));
    }
    let said = frames.answer(201);
    assert_eq!(said, Said::Reset(7), "REFUSED_STREAM for the 101st");
    until("the others upstream", || {
        (flooded.upstream.text().matches("GET /sources").count() == 100).then_some(())
    });
}
