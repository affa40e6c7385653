use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;

/// A running sample API and a connection to it.
struct Sample {
    stream: TcpStream,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Sample {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(SampleApi::serve(listener, "eu", async move {
            let _ = stopped.await;
        }));
        Self { stream: TcpStream::connect(address).await.unwrap(), address, stop, served }
    }

    async fn send(&mut self, method: &str, target: &str, body: &Value) -> Got {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        self.raw(&format!("{method} {target} HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await
    }

    async fn get(&mut self, target: &str) -> Got {
        self.send("GET", target, &Value::Null).await
    }

    async fn raw(&mut self, text: &str) -> Got {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; if text.starts_with("HEAD") { 0 } else { length.unwrap_or(0) }];
        self.stream.read_exact(&mut body).await.unwrap();
        assert!(head.contains("x-sample-region: eu\r\n"), "{head}");
        Got { status: head[9..12].parse().unwrap(), head, body }
    }
}

#[tokio::test]
async fn an_object_lives_from_creation_to_end() {
    let mut api = Sample::start().await;
    let body = json!({"slug": "web", "enabled": true, "metadataId": "IqDTy1TpoU"});
    let made = api.send("POST", "/sources", &body).await;
    assert_eq!(made.status, 201);
    let source = made.json()["data"]["source"].clone();
    assert_eq!((&source["slug"], &source["metadata"]["id"]), (&json!("web"), &json!("IqDTy1TpoU")));
    let path = format!("/sources/{}", source["id"].as_str().unwrap());
    let changed = api.send("PATCH", &path, &json!({"name": "new", "id": "mine"})).await;
    assert_eq!(changed.json()["data"]["source"]["name"], "new");
    assert_eq!(api.get(&path).await.json()["data"]["source"]["id"], source["id"]);
    assert_eq!(api.send("DELETE", &path, &Value::Null).await.json(), json!({"data": {"status": "SUCCESS"}}));
    let gone = api.get(&path).await;
    assert_eq!(gone.status, 404);
    assert_eq!(gone.json()["errors"][0]["type"], "not-found");
    let events = api.get("/audit-events").await.json();
    assert_eq!(events["data"]["events"].as_array().unwrap().last().unwrap()["type"], "Source Deleted");
}

#[tokio::test]
async fn every_operation_of_the_table_is_found_under_its_own_template() {
    for operation in &OPERATIONS {
        let path = operation.path.replace('{', "x").replace('}', "");
        let (found, _) = find(operation.method.name(), &path).unwrap();
        assert_eq!(found.name, operation.name);
    }
}

#[tokio::test]
async fn lists_are_paged_to_their_end() {
    let mut api = Sample::start().await;
    let first = api.get("/sources?pagination[count]=2").await.json();
    let pagination = &first["data"]["pagination"];
    assert_eq!((&pagination["current"], &pagination["totalEntries"]), (&json!("MA=="), &json!(3)));
    let next = pagination["next"].as_str().unwrap();
    let last = api.get(&format!("/sources?pagination.count=2&pagination.cursor={next}")).await.json();
    assert_eq!(last["data"]["sources"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&last["data"]["pagination"]["next"], &last["data"]["pagination"]["previous"]),
        (&Value::Null, &json!("MA=="))
    );
    let refused = api.get("/sources?pagination.count=0").await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["field"]), (422, &json!("pagination.count")));
}

#[tokio::test]
async fn workspaces_do_not_see_each_other() {
    let mut api = Sample::start().await;
    let mine = api.raw("GET /sources HTTP/1.1\r\nX-Tollgate-Workspace: mine\r\n\r\n").await.json();
    let id = mine["data"]["sources"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(mine["data"]["sources"][0]["workspaceId"], "mine");
    assert_eq!(api.get(&format!("/sources/{id}")).await.status, 404);
}

#[tokio::test]
async fn missing_and_wrong_input_is_422_and_names_the_field() {
    let mut api = Sample::start().await;
    for (method, path, body, field) in [
        ("POST", "/sources", json!({"slug": "a"}), "enabled"),
        ("POST", "/destinations", json!({"sourceId": "nope", "metadataId": "m", "settings": {}}), "sourceId"),
        ("POST", "/labels", json!({"label": {"key": "k"}}), "label.value"),
        ("DELETE", "/users", Value::Null, "userIds"),
        ("POST", "/regulations", json!({"regulationType": "SUPPRESS_ONLY"}), "subjectType"),
    ] {
        let got = api.send(method, path, &body).await;
        assert_eq!((got.status, &got.json()["errors"][0]["field"]), (422, &json!(field)), "{method} {path}");
        assert_eq!(got.json()["errors"][0]["type"], "input-validation");
    }
    assert_eq!(api.send("POST", "/sources", &json!([1])).await.status, 422);
    assert_eq!(api.send("PUT", "/sources", &Value::Null).await.status, 405);
    assert_eq!(api.get("/no/such/thing").await.status, 404);
    assert_eq!(api.get("//sources").await.status, 404);
}

#[tokio::test]
async fn forwarding_fields_name_a_source_or_are_left_out() {
    let mut api = Sample::start().await;
    let sources = api.get("/sources").await.json();
    let id = |n: usize| sources["data"]["sources"][n]["id"].as_str().unwrap().to_owned();
    let path = format!("/sources/{}/settings", id(0));
    for bad in [Value::Null, json!("unknown"), json!(""), json!(7)] {
        let got = api.send("PATCH", &path, &json!({"forwardingViolationsTo": bad})).await;
        assert_eq!((got.status, &got.json()["errors"][0]["field"]), (422, &json!("forwardingViolationsTo")));
    }
    let set = json!({"forwardingBlockedEventsTo": id(1), "track": {"commonEventOnViolations": "BLOCK"}});
    api.send("PATCH", &path, &set).await;
    let now = api.get(&path).await.json()["data"]["settings"].clone();
    assert_eq!(now["forwardingBlockedEventsTo"], id(1));
    assert_eq!(
        (&now["track"]["commonEventOnViolations"], &now["track"]["allowUnplannedEvents"]),
        (&json!("BLOCK"), &json!(true))
    );
    api.send("PATCH", &path, &json!({})).await;
    assert_eq!(api.get(&path).await.json()["data"]["settings"]["forwardingBlockedEventsTo"], Value::Null);
}

#[tokio::test]
async fn two_instances_of_an_integration_share_the_meta_id_of_their_metrics() {
    let mut api = Sample::start().await;
    let all = api.get("/destinations").await.json();
    for n in [0, 1] {
        let destination = &all["data"]["destinations"][n];
        let id = destination["id"].as_str().unwrap();
        let got = api.get(&format!("/destinations/{id}/delivery-metrics?sourceId=s")).await.json();
        let summary = &got["data"]["deliveryMetricsSummary"];
        assert_eq!(summary["destinationMetadataId"], all["data"]["destinations"][0]["metadata"]["id"]);
        assert_ne!(summary["destinationMetadataId"], id);
    }
    assert_eq!(
        api.get("/destinations/54521fd525e721e32a72ee91/delivery-metrics?sourceId=s").await.status,
        404
    );
}

#[tokio::test]
async fn labels_may_be_any_text() {
    let mut api = Sample::start().await;
    let label = json!({"label": {"key": "en/v", "value": "a b%2F?#&:é'()*!"}});
    assert_eq!(api.send("POST", "/labels", &label).await.status, 201);
    let path = "/labels/en%2Fv/a%20b%252F%3F%23%26%3A%C3%A9'()*!";
    assert_eq!(api.send("DELETE", path, &Value::Null).await.status, 200);
    assert_eq!(api.send("DELETE", path, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn echo_answers_and_fails_as_asked() {
    let mut api = Sample::start().await;
    let got = api.raw("GET /echo?message=hi+you HTTP/1.1\r\nX-One: 1\r\n\r\n").await.json();
    assert_eq!(got, json!({"data": {"method": "get", "message": "hi you", "headers": {"x-one": "1"}}}));
    for (query, status, errors) in [
        ("triggerError=true", 400, 1),
        ("triggerError=true&statusCode=409", 409, 1),
        ("triggerMultipleErrors=true", 400, 2),
        ("triggerUnexpectedError=true", 500, 1),
        ("statusCode=503", 503, 1),
        ("statusCode=99", 422, 1),
    ] {
        let got = api.get(&format!("/echo?message=x&{query}")).await;
        assert_eq!((got.status, got.json()["errors"].as_array().unwrap().len()), (status, errors), "{query}");
    }
    assert_eq!(api.get("/echo?message=x&statusCode=202&delay=1").await.status, 202);
}

#[tokio::test]
async fn raw_shows_the_request_as_it_arrived() {
    let mut api = Sample::start().await;
    let got = api
        .raw("PURGE /sample/raw/a%2Fb?x=[1]&status=418 HTTP/1.1\r\nhOST: h\r\nb: 1\r\nA: 2\r\nB: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: t\r\n\r\n")
        .await;
    assert_eq!(got.status, 418);
    assert_eq!(
        got.json(),
        json!({
            "method": "PURGE", "target": "/sample/raw/a%2Fb?x=[1]&status=418", "version": "HTTP/1.1",
            "headers": [["hOST", "h"], ["b", "1"], ["A", "2"], ["B", "3"], ["Transfer-Encoding", "chunked"]],
            "body": "hi", "trailers": [["X-T", "t"]],
        })
    );
    let head = api.raw("HEAD /sample/raw/ HTTP/1.1\r\n\r\n").await;
    assert!(head.head.contains("content-length: "));
    let added = api.get("/sample/raw/?header=X-Up:%20yes&header=X-Up:no").await;
    assert!(added.head.contains("X-Up: yes\r\nX-Up: no\r\n"));
    assert_eq!(api.get("/sample/raw/?header=a:b%0d%0ac:d").await.status, 422);
    for query in ["drop=x", "bytes=-1", "status=100", "delay_ms=a"] {
        assert_eq!(api.get(&format!("/sample/raw/?{query}")).await.status, 422, "{query}");
    }
}

/// Everything that arrives until the server closes.
async fn until_closed(address: std::net::SocketAddr, target: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn raw_breaks_off_and_answers_at_length() {
    let api = Sample::start().await;
    assert_eq!(until_closed(api.address, "/sample/raw/?drop=headers").await, b"");
    let broken = until_closed(api.address, "/sample/raw/?bytes=100000&drop=body").await;
    assert_eq!(content(&broken).len(), 50_000);
    assert!(String::from_utf8_lossy(&broken).contains("content-length: 100000\r\n"));
    let whole = until_closed(api.address, "/sample/raw/?bytes=200000&chunked=1").await;
    assert!(String::from_utf8_lossy(&whole).contains("transfer-encoding: chunked\r\n"));
    assert!(whole.ends_with(b"\r\n0\r\n\r\n"));
    let trailed = until_closed(api.address, "/sample/raw/?trailer=X-End:1").await;
    assert!(trailed.ends_with(b"\r\n0\r\nX-End: 1\r\n\r\n"));
}

fn content(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    &answer[end + 4..]
}

#[tokio::test]
async fn unreadable_requests_are_refused_in_the_envelope_and_the_connection_closed() {
    let mut api = Sample::start().await;
    let got = api.raw("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!((got.status, &got.json()["errors"][0]["type"]), (400, &json!("bad-request")));
    assert!(got.head.contains("connection: close"));
    let api = Sample::start().await;
    drop(api.stream);
    api.stop.send(()).unwrap();
    api.served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told() {
    let mut api = Sample::start().await;
    let head = b"POST /sample/raw/ HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    api.stream.write_all(head).await.unwrap();
    let mut interim = [0; 25];
    api.stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(api.raw("hi").await.json()["body"], "hi");
}
