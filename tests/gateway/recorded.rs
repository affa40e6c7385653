//! What Segment's SDKs in Python, Go, Java and TypeScript send, byte for byte as recorded.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Answer, Demo};

/// Fields that a gateway may take, add to or replace.
const OURS: [&str; 5] = ["authorization", "host", "connection", "content-length", "transfer-encoding"];

fn send(demo: &Demo, region: &str, request: &Value, target: &str, source: &str) -> Answer {
    let host = demo.address().to_string();
    let fill = |text: &str| {
        text.replace("{host}", &host).replace("{token}", demo.token(region)).replace("{source}", source)
    };
    let body = request["body"].as_str().unwrap_or_default();
    let mut lines = String::new();
    let mut has_length = false;
    for (name, value) in fields(request) {
        has_length |= name.eq_ignore_ascii_case("content-length");
        write!(lines, "{name}: {}\r\n", fill(value)).unwrap();
    }
    if !body.is_empty() && !has_length {
        write!(lines, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    let method = request["method"].as_str().unwrap();
    let bytes = format!("{method} {} HTTP/1.1\r\n{lines}\r\n{body}", fill(target));
    demo.connect().send(bytes.as_bytes())
}

fn fields(request: &Value) -> impl Iterator<Item = (&str, &str)> {
    let pairs = request["headers"].as_array().unwrap().iter();
    pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
}

#[test]
fn recorded_requests_are_answered_as_by_the_api_in_both_regions() {
    let recorded: Value = serde_json::from_str(include_str!("../sdk/recorded.json")).unwrap();
    let requests = recorded["requests"].as_array().unwrap();
    assert!(requests.len() >= 15);
    let demo = Demo::start();
    for region in ["us", "eu"] {
        let list = demo.ask(region, "GET", "/sources").json();
        let source = list["data"]["sources"][0]["id"].as_str().unwrap();
        for request in requests {
            let (name, target) = (&request["name"], request["target"].as_str().unwrap());
            let answer = send(&demo, region, request, target, source);
            assert_eq!(
                (answer.status, answer.region()),
                (request["status"].as_u64().unwrap() as u16, Some(region)),
                "{name}"
            );
            let body = answer.json();
            if let Some(length) = request["page"].as_u64() {
                let page = body["data"].as_object().unwrap().values().find_map(Value::as_array).unwrap();
                assert_eq!(page.len() as u64, length, "{name}");
            }
            if let Some(message) = request["message"].as_str() {
                assert_eq!(body["errors"][0]["message"], message, "{name}");
            }
            arrives_as_sent(&demo, region, request, source);
        }
    }
}

/// The same request to the endpoint that shows what arrived.
fn arrives_as_sent(demo: &Demo, region: &str, request: &Value, source: &str) {
    let name = &request["name"];
    let target = request["target"].as_str().unwrap();
    let target =
        if target.starts_with("/sample/raw") { target.to_owned() } else { format!("/sample/raw{target}") };
    let answer = send(demo, region, request, &target, source);
    assert_eq!(answer.status, 200, "{name}");
    let shown = answer.json();
    assert_eq!(shown["method"], request["method"], "{name}");
    assert_eq!(shown["target"], target.replace("{source}", source), "{name}");
    assert_eq!(shown["body"], request["body"].as_str().unwrap_or_default(), "{name}");
    for (field, value) in fields(request).filter(|(name, _)| !OURS.contains(&name.to_lowercase().as_str())) {
        let arrived: Vec<_> = shown["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(field))
            .map(|pair| pair[1].as_str().unwrap())
            .collect();
        assert_eq!(arrived, [value], "{name}: {field}");
    }
}
