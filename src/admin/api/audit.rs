//! `/v1/audit-events` and `/v1/audit-verification`

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::page::{CURSOR, PER_PAGE, Wanted, page_schema};
use super::route::{QueryParameter, Route};
use super::work::{Answer, Work};
use crate::gateway::refuse_change::for_operator;
use crate::reply::Refusal;
use crate::tokens::store::{ChangeKind, LogEntry, log};
use crate::tokens::{Error, Moment};

const SUBJECT: QueryParameter = QueryParameter {
    name: "subject",
    about: "Only what is about this workspace, token, operator or revocation; newest first.",
    schema: |_| json_schema!({"type": "string"}),
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/audit-events",
        operation: "listAuditEvents",
        about: "Lists the audit trail: every change, who made it and when. Oldest first, or of one subject and newest first.",
        query: &[SUBJECT, CURSOR, PER_PAGE],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<Page>,
        refusals: &[],
        run: list,
    },
    Route {
        method: Method::GET,
        path: "/v1/audit-verification",
        operation: "getAuditVerification",
        about: "Shows how the last verification of the audit trail's hashes ended, or goes.",
        query: &[],
        body: None,
        status: 200,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[],
        run: |work| Answer::of(200, "verification", &*work.verification.state()),
    },
    Route {
        method: Method::POST,
        path: "/v1/audit-verification",
        operation: "verifyAuditTrail",
        about: "Verifies the audit trail from its first entry: numbers without a gap, hashes that follow from each other, an end that is the store's. One runs at a time; its state is at the same path.",
        query: &[],
        body: None,
        status: 202,
        answer: SchemaGenerator::subschema_for::<One>,
        refusals: &[],
        run: verify,
    },
];

/// An entry of the audit trail.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
struct AuditEvent<'r> {
    /// Its number, from 1 without a gap.
    id: u64,
    timestamp: Moment,
    /// What happened, for people: `API Token Created`.
    r#type: &'r str,
    /// What happened, for programs: `token.created`.
    kind: &'r str,
    /// Who did it: `admin:NAME` for an operator, `owner:…`, `cli:…`.
    actor: &'r str,
    resource_type: &'r str,
    /// The workspace, token, operator or revocation that it is about.
    resource_id: &'r str,
    /// What changed.
    details: Value,
    /// SHA-256 over the entry and the hash of the one before, in hexadecimal.
    hash: String,
}

#[derive(JsonSchema)]
#[schemars(rename = "AuditVerificationData")]
#[expect(dead_code, reason = "only described")]
struct One {
    verification: VerificationState,
}

page_schema!(Page, audit_events: AuditEvent<'static>);

/// How a verification goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Progress {
    /// None was asked for since the process began.
    #[default]
    NotStarted,
    /// It is under way.
    Running,
    /// Everything follows.
    Intact,
    /// Something does not; `message` says where.
    Broken,
    /// The store could not be read to the end.
    Failed,
}

/// The last verification.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "AuditVerification")]
pub(super) struct VerificationState {
    state: Progress,
    /// The last entry that is known to follow.
    verified: u64,
    started_at: Option<Moment>,
    ended_at: Option<Moment>,
    message: Option<String>,
}

/// The last verification of this process.
#[derive(Debug, Default)]
pub(super) struct Verification(Mutex<VerificationState>);

impl Verification {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, VerificationState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the thread that verifies, also where that panics: another verification can be asked for.
struct Ends(Arc<Verification>);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.state == Progress::Running {
            tracing::error!("the verification of the audit trail ended before its time");
            state.state = Progress::Failed;
            state.message = Some("it ended before its time; the log may say why".to_owned());
        }
    }
}

fn list(work: &Work) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(work)?;
    let after = match (wanted.after.as_str(), wanted.after.parse()) {
        ("", _) => None,
        (_, Ok(seq)) => Some(seq),
        (_, Err(_)) => {
            let message = "`cursor` is no `pagination.next` of an earlier page.".to_owned();
            return Err(Refusal::InputInvalid { field: "cursor".to_owned(), message });
        }
    };
    let store = work.mint().store();
    let read = match work.query("subject") {
        Some(subject) => store.log_of(&[subject], after.unwrap_or(u64::MAX), wanted.to_read()),
        None => store.log(after.unwrap_or(0), wanted.to_read()),
    };
    let read = read.map_err(|error| for_operator(&error))?;
    wanted.answer(
        "audit_events",
        read,
        |entry| entry.seq.to_string(),
        |entry| serde_json::to_value(event(entry)),
    )
}

fn event(entry: &LogEntry) -> AuditEvent<'_> {
    let kind = ChangeKind::by_name(&entry.kind);
    AuditEvent {
        id: entry.seq,
        timestamp: Moment(entry.at_unix_millis / 1_000),
        r#type: kind.map_or(&entry.kind, |kind| kind.title()),
        kind: &entry.kind,
        actor: &entry.actor,
        resource_type: kind.map_or("", ChangeKind::resource_type),
        resource_id: &entry.subject,
        details: serde_json::from_str(&entry.body).unwrap_or_default(),
        hash: entry.hash.iter().fold(String::new(), |mut hex, byte| {
            // Writing to memory cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

/// Starts a verification on a thread of its own, unless one runs.
fn verify(work: &Work) -> Result<Answer, Refusal> {
    let mut state = work.verification.state();
    if state.state != Progress::Running {
        *state = VerificationState {
            state: Progress::Running,
            started_at: Some(Moment(work.now.unix_seconds())),
            ..VerificationState::default()
        };
        let (node, verification) = (Arc::clone(&work.node), Arc::clone(&work.verification));
        let run = move || {
            let _ends = Ends(Arc::clone(&verification));
            let verified = log::verify(&**node.mint().store(), &mut |last| {
                verification.state().verified = last;
            });
            let mut state = verification.state();
            state.ended_at = Some(Moment(node.now().unix_seconds()));
            state.state = match verified {
                Ok(entries) => {
                    state.verified = entries;
                    Progress::Intact
                }
                Err(error @ (Error::LogAltered(_) | Error::LogBroken { .. })) => {
                    tracing::error!(%error, "the audit trail does not follow");
                    state.message = Some(error.to_string());
                    Progress::Broken
                }
                Err(error) => {
                    tracing::error!(%error, "the audit trail could not be read");
                    Progress::Failed
                }
            };
        };
        let thread = std::thread::Builder::new().name("tollgate-verify".to_owned()).spawn(run);
        if thread.is_err() {
            state.state = Progress::Failed;
            return Err(Refusal::Overloaded);
        }
    }
    Answer::of(202, "verification", &*state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_that_panics_does_not_run_for_ever() {
        let verification = Arc::new(Verification::default());
        verification.state().state = Progress::Running;
        let of_thread = Arc::clone(&verification);
        let run = move || {
            let _ends = Ends(of_thread);
            panic!("as it may");
        };
        assert!(std::thread::spawn(run).join().is_err());
        let state = verification.state();
        assert_eq!(state.state, Progress::Failed);
        assert!(state.message.is_some());
    }
}
