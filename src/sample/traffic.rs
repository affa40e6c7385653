//! A gentle mixed load for `demo --traffic`: reads, writes, and now and then a 404, a 401 and a 429.
//!
//! Each target is walked through by one connection, one request at a time. What it makes it deletes.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::domain::Secret;

/// Requests a second to each target, unless set.
const REQUESTS_PER_SECOND: u32 = 4;
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A gateway, and tokens for it.
#[derive(Debug)]
pub struct TrafficTarget {
    /// `http://host:port`, without a final slash.
    pub base_url: String,
    /// Tokens that are used in turn; at least one.
    pub tokens: Vec<Secret<String>>,
}

/// The load.
#[derive(Debug)]
pub struct Traffic {
    targets: Vec<TrafficTarget>,
    requests_per_second: u32,
}

/// Why a target is left alone.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// Its address cannot be used.
    #[error("'{0}' is no address for traffic: give http://host:port")]
    BaseUrl(String),
    /// It has no token.
    #[error("'{0}' has no token: give at least one")]
    Token(String),
}

/// One request of the round; `{id}` is the id of the tracking plan or warehouse that the round works on.
struct Step {
    method: Method,
    target: &'static str,
    body: &'static str,
    remember: Option<&'static str>,
    stranger: bool,
}

/// One target with its connection.
struct Walker {
    host: String,
    tokens: Vec<Secret<String>>,
    round: Vec<Step>,
    at: usize,
    id: String,
    connection: Option<(SendRequest<Full<Bytes>>, AbortHandle)>,
}

impl Traffic {
    /// A load of four requests a second to each target.
    pub fn new(targets: Vec<TrafficTarget>) -> Self {
        Self { targets, requests_per_second: REQUESTS_PER_SECOND }
    }

    /// Sets the rate to each target, 1 to 1,000 a second.
    #[must_use]
    pub fn requests_per_second(mut self, rate: u32) -> Self {
        self.requests_per_second = rate.clamp(1, 1_000);
        self
    }

    /// Runs until `shutdown` completes; says how many requests were answered. A target that is away is tried
    /// again with each step.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<u64, TrafficError> {
        let mut walkers =
            self.targets.into_iter().map(Walker::new).collect::<Result<Vec<Walker>, TrafficError>>()?;
        let mut ticks = interval(Duration::from_secs(1) / self.requests_per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut answered = 0;
        loop {
            let stepped = async {
                ticks.tick().await;
                let mut answered = 0;
                for walker in &mut walkers {
                    answered += u64::from(walker.step().await.is_some());
                }
                answered
            };
            tokio::select! {
                () = &mut shutdown => return Ok(answered),
                more = stepped => answered += more,
            }
        }
    }
}

impl Walker {
    fn new(target: TrafficTarget) -> Result<Self, TrafficError> {
        let uri: Option<Uri> = target.base_url.parse().ok();
        let host = uri.filter(|uri| uri.scheme_str() == Some("http")).and_then(|uri| {
            uri.authority().filter(|authority| authority.port().is_some()).map(ToString::to_string)
        });
        let Some(host) = host else { return Err(TrafficError::BaseUrl(target.base_url)) };
        if target.tokens.is_empty() {
            return Err(TrafficError::Token(target.base_url));
        }
        Ok(Self { host, tokens: target.tokens, round: round(), at: 0, id: String::new(), connection: None })
    }

    /// Sends the next request of the round; `None` when no answer came.
    async fn step(&mut self) -> Option<StatusCode> {
        let number = self.at;
        self.at += 1;
        let step = &self.round[number % self.round.len()];
        let token = &self.tokens[number / self.round.len() % self.tokens.len()];
        let credential = if step.stranger { "not-a-token-of-this-gateway" } else { token.expose().as_str() };
        let request = Request::builder()
            .method(step.method.clone())
            .uri(step.target.replace("{id}", &self.id))
            .header("host", &self.host)
            .header("user-agent", "tollgate-demo-traffic")
            .header("authorization", format!("Bearer {credential}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(step.body.as_bytes())))
            .ok()?;
        let remember = step.remember;
        let answer = timeout(ANSWER, self.exchange(request)).await.ok().flatten();
        let Some((status, body)) = answer else {
            self.disconnect();
            return None;
        };
        if let Some(pointer) = remember
            && let Ok(body) = serde_json::from_slice::<Value>(&body)
            && let Some(id) = body.pointer(pointer).and_then(Value::as_str)
        {
            id.clone_into(&mut self.id);
        }
        Some(status)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Option<(StatusCode, Bytes)> {
        if self.connection.as_ref().is_none_or(|(sender, _)| sender.is_closed()) {
            self.disconnect();
            let stream = TcpStream::connect(&self.host).await.ok()?;
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            self.connection = Some((sender, tokio::spawn(driver).abort_handle()));
        }
        let (sender, _) = self.connection.as_mut()?;
        sender.ready().await.ok()?;
        let answer = sender.send_request(request).await.ok()?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.ok()?;
        Some((status, body.to_bytes()))
    }

    fn disconnect(&mut self) {
        if let Some((_, driver)) = self.connection.take() {
            driver.abort();
        }
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// What a target sees, over and over: mostly reads, one object's life, a 404, a 401, and a read whose limit is
/// two a minute.
fn round() -> Vec<Step> {
    let get = |target| Step { method: Method::GET, target, body: "", remember: None, stranger: false };
    let plan = Some("/data/trackingPlan/id");
    vec![
        get("/"),
        get("/sources?pagination.count=10"),
        Step {
            method: Method::POST,
            target: "/tracking-plans",
            body: r#"{"name":"Traffic","type":"LIVE"}"#,
            remember: plan,
            stranger: false,
        },
        get("/tracking-plans/{id}"),
        Step { method: Method::PATCH, body: r#"{"description":"changed"}"#, ..get("/tracking-plans/{id}") },
        get("/destinations?pagination.count=10"),
        get("/tracking-plans?pagination.count=5"),
        Step { method: Method::DELETE, ..get("/tracking-plans/{id}") },
        get("/tracking-plans/{id}"),
        get("/spaces?pagination.count=2"),
        get("/functions?pagination.count=10"),
        Step { stranger: true, ..get("/sources") },
        get("/catalog/sources?pagination.count=3"),
        Step { remember: Some("/data/warehouses/0/id"), ..get("/warehouses?pagination.count=1") },
        get("/warehouses/{id}/advanced-sync-schedule"),
        get("/users?pagination.count=10"),
        get("/roles"),
        get("/labels"),
    ]
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;
    use crate::sample::SampleApi;

    fn target(base_url: &str, tokens: usize) -> TrafficTarget {
        let tokens = (0..tokens).map(|n| Secret::new(format!("token-{n}"))).collect();
        TrafficTarget { base_url: base_url.to_owned(), tokens }
    }

    #[tokio::test]
    async fn traffic_flows_and_leaves_nothing_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut ended = stopped.clone();
        let served = tokio::spawn(SampleApi::serve(listener, "us", async move {
            let _ = ended.wait_for(|stop| *stop).await;
        }));
        let mut watcher = Walker::new(target(&format!("http://{address}"), 1)).unwrap();
        let deleted = async {
            loop {
                let request = Request::builder().uri("/audit-events").body(Full::default()).unwrap();
                let (_, body) = watcher.exchange(request).await.unwrap();
                if String::from_utf8_lossy(&body).contains("Tracking Plan Deleted") {
                    break;
                }
            }
        };
        let traffic = Traffic::new(vec![target(&format!("http://{address}"), 2)]).requests_per_second(1_000);
        let answered = timeout(Duration::from_secs(20), traffic.run(deleted)).await.unwrap().unwrap();
        assert!(answered >= 7, "{answered}");
        drop(watcher);
        stop.send_replace(true);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn unusable_targets_are_named() {
        for bad in ["https://h:1", "h:1", "http://h", ""] {
            let error = Traffic::new(vec![target(bad, 1)]).run(async {}).await.unwrap_err();
            assert!(matches!(error, TrafficError::BaseUrl(_)), "{bad}");
        }
        let error = Traffic::new(vec![target("http://h:1", 0)]).run(async {}).await.unwrap_err();
        assert!(matches!(error, TrafficError::Token(_)));
    }
}
