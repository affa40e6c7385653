//! What a leaked token did, and the tokens of its family that were revoked with it, as a message tells it.
//!
//! Each token has a share of its own of the requests that a message lists, and in it writes come before refusals:
//! neither a token that does much nor somebody who goes on trying a revoked one hides what another wrote.

use super::message::{Line, Report};
use crate::journal::{Activity, Journal, JournalError, Kept, Question, Which};
use crate::tokens::Moment;

/// The most requests of one token that a message lists; what is beyond is counted, and the journal has it.
const MOST_OF_A_TOKEN: u32 = 1_000;
/// The most requests that a message lists of all its tokens.
const MOST_IN_A_MESSAGE: u32 = 10_000;

/// How many requests of each token a message lists that tells of so many.
pub(super) fn share(tokens: usize) -> u32 {
    let tokens = u32::try_from(tokens).unwrap_or(u32::MAX).max(1);
    MOST_OF_A_TOKEN.min(MOST_IN_A_MESSAGE / tokens)
}

impl Report {
    /// What these tokens did from a time on, each with up to `share` requests. Blocks.
    pub(super) fn of<'t>(
        journal: &dyn Journal,
        tokens: impl IntoIterator<Item = &'t str>,
        from_unix_millis: u64,
        share: u32,
    ) -> Result<Self, JournalError> {
        let (mut activity, mut kept) = (Activity::default(), Vec::new());
        for token_id in tokens {
            let question = Question {
                token_id,
                which: Which::All,
                from_unix_millis,
                before_unix_millis: u64::MAX,
                after: None,
                count: share,
            };
            activity.add(journal.activity(&question)?);
            let writes = journal.entries(&Question { which: Which::Writes, ..question })?;
            let count = share.saturating_sub(writes.len() as u32);
            kept.extend(writes);
            if count > 0 {
                kept.extend(journal.entries(&Question { which: Which::Refusals, count, ..question })?);
            }
        }
        kept.sort_by_key(Kept::place);
        let all = activity.writes + activity.refusals;
        Ok(Self {
            from: Moment(from_unix_millis / 1_000),
            requests_left_out: all.saturating_sub(kept.len() as u64),
            activity,
            requests: kept.into_iter().map(|kept| Line(kept.entry)).collect(),
            gateways_missing: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::journal::{Bounds, Entry, PostgresJournal, SqliteJournal};
    use crate::tokens::store::postgres::server::Server;
    use crate::tokens::{PostgresAddress, PostgresStore};

    const FROM: u64 = 1_700_000_000_000;
    const BOUNDS: Bounds = Bounds {
        retention: Duration::from_hours(24),
        entries_per_token: 100_000,
        entries: 100_000,
        file_bytes: 1 << 30,
    };

    fn entry(token: &str, number: u64, forwarded: &str) -> Entry {
        Entry {
            at_unix_millis: FROM + number,
            token_id: token.into(),
            workspace_id: "ws".into(),
            method: "POST".into(),
            operation: "createSource".into(),
            resource: "/sources".into(),
            outcome: if forwarded == "no" { "token_revoked" } else { "forwarded" }.into(),
            status: 201,
            forwarded: forwarded.into(),
            address: format!("192.0.2.{}:{number}", token.len()),
            user_agent: String::new(),
            request_id: format!("{token} {forwarded} {number}"),
        }
    }

    fn many(token: &str, numbers: std::ops::Range<u64>, forwarded: &str) -> Vec<Entry> {
        numbers.map(|number| entry(token, number, forwarded)).collect()
    }

    /// How many requests of a token are listed, of this ending.
    fn listed(report: &Report, token: &str, forwarded: &str) -> usize {
        let is_one = |line: &&Line| line.0.token_id == token && line.0.forwarded == forwarded;
        report.requests.iter().filter(is_one).count()
    }

    fn every_write_is_told_and_no_token_takes_anothers_place(journal: &dyn Journal) {
        journal.append(&many("found", 0..500, "yes")).unwrap();
        journal.append(&many("found", 500..2_500, "no")).unwrap();
        let report = Report::of(journal, ["found"], FROM, share(1)).unwrap();
        let counted = (report.activity.writes, report.activity.refusals, report.requests_left_out);
        assert_eq!((listed(&report, "found", "yes"), listed(&report, "found", "no")), (500, 500));
        assert_eq!(counted, (500, 2_000, 1_500));
        assert_eq!(report.requests[499].0.request_id, "found yes 499", "oldest first");
        assert_eq!(report.requests[999].0.request_id, "found no 2499", "the latest refusals");

        journal.append(&many("predecessor", 100..600, "maybe")).unwrap();
        journal.append(&many("busy", 0..5_000, "yes")).unwrap();
        let family = ["found", "predecessor", "busy"];
        let report = Report::of(journal, family, FROM, share(family.len())).unwrap();
        let of = |token| (listed(&report, token, "yes"), listed(&report, token, "maybe"));
        assert_eq!((of("found"), of("predecessor"), of("busy")), ((500, 0), (0, 500), (1_000, 0)));
        assert!(report.requests.is_sorted_by_key(|line| line.0.at_unix_millis));
        assert_eq!((report.activity.writes, report.requests_left_out), (6_000, 1_500 + 4_000));
        assert_eq!(report.activity.addresses, ["192.0.2.5", "192.0.2.11", "192.0.2.4"]);

        let late = Report::of(journal, ["found"], FROM + 499, share(1)).unwrap();
        assert_eq!((listed(&late, "found", "yes"), late.activity.writes), (1, 1));
        let full = Report::of(journal, ["found"], FROM, 500).unwrap();
        assert_eq!((listed(&full, "found", "yes"), full.requests_left_out), (500, 2_000));
    }

    #[test]
    fn a_files_report_has_every_write() {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(&folder.path().join("tollgate.journal"), BOUNDS).unwrap();
        every_write_is_told_and_no_token_takes_anothers_place(&journal);
    }

    #[test]
    fn a_databases_report_has_every_write() {
        let server = Server::start();
        let address = PostgresAddress::parse(&server.database(), Path::new("")).unwrap();
        PostgresStore::open(&address).unwrap();
        every_write_is_told_and_no_token_takes_anothers_place(
            &PostgresJournal::new(&address, BOUNDS).unwrap(),
        );
    }

    #[test]
    fn shares_do_not_pass_the_message() {
        assert_eq!([0, 1, 10, 20, 50, 20_000].map(share), [1_000, 1_000, 1_000, 500, 200, 0]);
    }
}
