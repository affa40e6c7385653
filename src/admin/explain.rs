//! `/explain.json`: a question about a request, in the query; and the client that asks it.
//!
//! | parameter | of the question |
//! |---|---|
//! | `method`, `target` | the request's, `GET` if left out |
//! | `field` (repeated) | a header, `Name: value` |
//! | `address` | where it comes from |
//! | `token_id` | by the holder of this token |
//! | `workspace`, `plan`, `region`, `role`, `scope`, `feature` (the last two repeated) | by a token that need not exist |
//!
//! A token itself goes into a field, because addresses end up in logs and histories. No page of a browser can set
//! it without a preflight, which this listener refuses.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::domain::{Plan, Role, Secret};
use crate::gateway::decoded;
use crate::gateway::explain::{AsIf, Asker, Explanation, Question};

/// The field that carries the token whose holder asks.
const TOKEN_FIELD: &str = "x-explain-token";
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The longest wait for it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a running node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskFailed {
    /// Not the address of an operator's listener.
    #[error("`{0}` is no address of an operator's listener; write for example http://127.0.0.1:9901")]
    Address(String),
    /// The token would be readable on the way.
    #[error(
        "an operator's token is not sent in plain text to another machine; run this there, or through a tunnel"
    )]
    PlainText,
    /// No connection, or no answer.
    #[error("the node at {0} does not answer: {1}")]
    Unreachable(String, String),
    /// Something else than an explanation.
    #[error("the node at {0} refuses: {1}")]
    Refused(String, String),
}

/// Reads the question of a request; the error says what is wrong.
pub(super) fn question(request: &Parts) -> Result<Question, String> {
    let mut question = Question::new("GET", "/");
    let mut as_if = AsIf::default();
    let mut token_id = None;
    for pair in request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value =
            decoded(value).ok_or_else(|| format!("the value of `{name}` is not percent-encoded UTF-8"))?;
        match name {
            "method" => question.method = value,
            "target" => question.target = value,
            "field" => question.fields.push(value),
            "address" => {
                question.address = value.parse().map_err(|_| format!("`{value}` is no IP address"))?;
            }
            "token_id" => token_id = Some(value),
            "workspace" => as_if.workspace = value,
            "plan" => {
                let plan = Plan::by_name(&value).ok_or_else(|| format!("`{value}` is no plan"))?;
                as_if.plan = Some(plan);
            }
            "role" => {
                let role = Role::by_name(&value).ok_or_else(|| format!("`{value}` is no role"))?;
                as_if.role = Some(role);
            }
            "region" => as_if.region = Some(value),
            "scope" => as_if.scopes.push(value),
            "feature" => as_if.features.push(value),
            _ => return Err(format!("there is no parameter `{name}`")),
        }
    }
    let token = request.headers.get(TOKEN_FIELD);
    question.asker = match (token, token_id, as_if.workspace.is_empty()) {
        (None, None, true) => Asker::Request,
        (Some(token), None, true) => {
            let token = token.to_str().map_err(|_| format!("`{TOKEN_FIELD}` is no text"))?;
            Asker::Token(Secret::new(token.to_owned()))
        }
        (None, Some(id), true) => Asker::TokenId(id),
        (None, None, false) => Asker::AsIf(as_if),
        _ => return Err("say who asks in one way: a token, `token_id` or `workspace`".to_owned()),
    };
    Ok(question)
}

/// The target that asks a question, without its token.
fn target(question: &Question) -> String {
    let mut target = "/explain.json?".to_owned();
    let mut push = |name: &str, value: &str| {
        let _ = write!(target, "{name}={}&", encoded(value));
    };
    push("method", &question.method);
    push("target", &question.target);
    question.fields.iter().for_each(|field| push("field", field));
    push("address", &question.address.to_string());
    match &question.asker {
        Asker::Request | Asker::Token(_) => {}
        Asker::TokenId(id) => push("token_id", id),
        Asker::AsIf(as_if) => {
            push("workspace", &as_if.workspace);
            as_if.plan.iter().for_each(|plan| push("plan", plan.name()));
            as_if.role.iter().for_each(|role| push("role", role.name()));
            as_if.region.iter().for_each(|region| push("region", region));
            as_if.scopes.iter().for_each(|scope| push("scope", scope));
            as_if.features.iter().for_each(|feature| push("feature", feature));
        }
    }
    target.pop();
    target
}

/// Asks the node whose operator's listener is at `url`, with an operator's token.
pub fn ask(url: &str, operator: &Secret<String>, question: &Question) -> Result<Explanation, AskFailed> {
    let no_address = || AskFailed::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| no_address())?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(no_address());
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().ok_or_else(no_address)?;
    let unreachable =
        |error: &dyn std::fmt::Display| AskFailed::Unreachable(url.to_owned(), error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exchange = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| unreachable(&error))?;
        let peer = stream.peer_addr().map_err(|error| unreachable(&error))?;
        exchange(stream, peer, (question, operator), authority.as_str(), &unreachable).await
    };
    let (status, body) = runtime.map_err(|error| unreachable(&error))?.block_on(async {
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .unwrap_or_else(|_| Err(unreachable(&"it took too long")))
    })?;
    if status == StatusCode::OK
        && let Ok(explanation) = serde_json::from_slice(&body)
    {
        return Ok(explanation);
    }
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = answer.pointer("/errors/0/message").and_then(serde_json::Value::as_str);
    Err(AskFailed::Refused(
        url.to_owned(),
        said.unwrap_or("it is no operator's listener of tollgate").to_owned(),
    ))
}

async fn exchange(
    stream: TcpStream,
    peer: SocketAddr,
    (question, operator): (&Question, &Secret<String>),
    host: &str,
    unreachable: &dyn Fn(&dyn std::fmt::Display) -> AskFailed,
) -> Result<(StatusCode, Bytes), AskFailed> {
    if !peer.ip().is_loopback() {
        return Err(AskFailed::PlainText);
    }
    let mut request = Request::get(target(question))
        .header(header::HOST, host)
        .header(header::AUTHORIZATION, format!("Bearer {}", operator.expose()));
    if let Asker::Token(token) = &question.asker {
        request = request.header(TOKEN_FIELD, token.expose());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| unreachable(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| unreachable(&error))?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    Ok((status, body.map_err(|error| unreachable(&error))?.to_bytes()))
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, token: Option<&str>) -> Result<Question, String> {
        let mut request = Request::get(target);
        if let Some(token) = token {
            request = request.header(TOKEN_FIELD, token);
        }
        question(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_is_no_question_is_told() {
        for (query, says) in [
            ("x=1", "no parameter `x`"),
            ("method=%4", "percent-encoded"),
            ("method=%zz", "percent-encoded"),
            ("target=%FF", "percent-encoded"),
            ("address=home", "no IP address"),
            ("workspace=w&plan=gold", "no plan"),
            ("workspace=w&role=king", "no role"),
            ("workspace=w&token_id=t", "in one way"),
        ] {
            let error = read(&format!("/explain.json?{query}"), None).unwrap_err();
            assert!(error.contains(says), "{query}: {error}");
        }
        assert!(read("/explain.json?token_id=t", Some("secret")).unwrap_err().contains("in one way"));
    }

    #[test]
    fn a_question_is_read_as_it_was_asked() {
        let mut asked = Question::new("PATCH", "/a%2Fb?c=d&e=é#");
        asked.fields = vec!["Accept: a/b; q=1".to_owned(), "X: ".to_owned()];
        asked.address = "2001:db8::1".parse().unwrap();
        let as_if = AsIf {
            workspace: "w s".to_owned(),
            plan: Some(Plan::Team),
            region: Some("eu".to_owned()),
            features: vec!["f".to_owned()],
            scopes: vec!["a:b".to_owned(), "c".to_owned()],
            role: Some(Role::Owner),
        };
        for asker in [Asker::Request, Asker::TokenId("tok_1".to_owned()), Asker::AsIf(as_if)] {
            asked.asker = asker;
            let found = read(&target(&asked), None).unwrap();
            assert_eq!(format!("{found:?}"), format!("{asked:?}"));
        }
        asked.asker = Asker::Token(Secret::new("a.b".to_owned()));
        assert!(!target(&asked).contains("a.b"));
        let Asker::Token(token) = read(&target(&asked), Some("a.b")).unwrap().asker else { panic!() };
        assert_eq!(token.expose(), "a.b");
    }

    #[test]
    fn only_an_operators_listener_is_asked() {
        for url in ["", "x", "https://127.0.0.1:9901", "http://127.0.0.1", "127.0.0.1:9901"] {
            assert!(
                matches!(
                    ask(url, &Secret::new(String::new()), &Question::new("GET", "/")),
                    Err(AskFailed::Address(_))
                ),
                "{url}"
            );
        }
    }
}
