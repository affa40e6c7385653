//! Tables of cases: one row a case, all of them against one running gateway.

use crate::recorder::Recorder;
use crate::support::{Client, Gateway, config, request};

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is closed, and nothing more is said on it.
    Closes,
    /// It serves another request.
    GoesOn,
}

/// One case: what is sent, and what must come of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) then: Then,
}

/// A gateway before an upstream that keeps what arrives.
pub(crate) struct Edge {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Recorder,
    pub(crate) token: String,
}

impl Edge {
    /// `listen` are more lines of `[listen]`.
    pub(crate) fn start(listen: &str) -> Self {
        let upstream = Recorder::start();
        let text = config(&upstream.url(), &upstream.url(), "");
        let gateway = Gateway::start(&text.replacen("[listen]\n", &format!("[listen]\n{listen}\n"), 1));
        let (_, token) = gateway.token("ws-us", &[]);
        upstream.take();
        Self { gateway, upstream, token }
    }

    /// The token's field line.
    pub(crate) fn credential(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// Text with `$T` for the token's field line.
    pub(crate) fn fill(&self, text: &str) -> Vec<u8> {
        text.replace("$T", &self.credential()).into_bytes()
    }

    /// That every row is answered as it says, and that of none a request reached the upstream.
    pub(crate) fn refuses(&self, rows: &[Row]) {
        self.each(rows, |row| {
            let connection = self.answered(row)?;
            let reached = self.upstream.take();
            if !reached.is_empty() {
                return Err(format!("the upstream got {reached:?}"));
            }
            self.follows(connection, row.then)
        });
    }

    /// That every row is answered as it says.
    pub(crate) fn answers(&self, rows: &[Row]) {
        self.each(rows, |row| {
            let connection = self.answered(row)?;
            self.follows(connection, row.then)
        });
    }

    fn each(&self, rows: &[Row], check: impl Fn(&Row) -> Result<(), String>) {
        let wrong: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                self.upstream.take();
                check(row).err().map(|wrong| format!("{}: {wrong}", row.name))
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
        assert_eq!(self.gateway.metrics().count("tollgate_panics_total", &[]), 0);
    }

    /// Sends a row's bytes and compares the answer.
    fn answered(&self, row: &Row) -> Result<Client, String> {
        let mut client = self.gateway.connect();
        // The gateway may have closed before it has read all of it.
        let _ = client.try_write(&row.bytes);
        let answer =
            client.try_read(row.bytes.starts_with(b"HEAD ")).map_err(|error| format!("{error:?}"))?;
        let said = (answer.status, &*answer.reason());
        if said != (row.status, row.reason) {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{said:?} instead of {:?}: {body}", (row.status, row.reason)));
        }
        let closes = answer.field("connection") == Some("close");
        if closes != (row.then == Then::Closes) {
            return Err(format!("the answer says of the connection: {:?}", answer.field("connection")));
        }
        Ok(client)
    }

    fn follows(&self, mut client: Client, then: Then) -> Result<(), String> {
        if then == Then::Closes {
            return match client.read_to_end() {
                Ok(rest) if rest.is_empty() => Ok(()),
                other => Err(format!("after the answer came {other:?}")),
            };
        }
        client.try_write(&request("GET", "/sources", &self.token, "")).map_err(|error| error.to_string())?;
        let next = client.try_read(false).map_err(|error| format!("no second answer: {error}"))?;
        if next.status == 200 { Ok(()) } else { Err(format!("the second answer is {}", next.status)) }
    }
}

/// Rows that are all refused as `bad_request`, and the connection closed.
pub(crate) fn malformed(name: &str, requests: impl IntoIterator<Item = Vec<u8>>) -> Vec<Row> {
    refused(name, 400, "bad_request", requests)
}

/// Rows that are all refused alike, and the connection closed.
pub(crate) fn refused(
    name: &str,
    status: u16,
    reason: &'static str,
    requests: impl IntoIterator<Item = Vec<u8>>,
) -> Vec<Row> {
    rows(name, status, reason, Then::Closes, requests)
}

/// Rows that are all answered alike.
pub(crate) fn rows(
    name: &str,
    status: u16,
    reason: &'static str,
    then: Then,
    requests: impl IntoIterator<Item = Vec<u8>>,
) -> Vec<Row> {
    requests
        .into_iter()
        .map(|bytes| {
            let shown: String =
                bytes.iter().take(300).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
            let name = format!("{name}: {}", shown.replace("Host: a\\r\\n", ""));
            Row { name, bytes, status, reason, then }
        })
        .collect()
}
