//! A message as a text for people.

use std::fmt::Write as _;

use super::message::{Contents, Data, ListSteps, Many, Message, Report};
use super::used;
use crate::tokens::Moment;

/// The subject of a mail; one line, because a token's name and a workspace's id are.
pub(super) fn subject(message: &Message) -> String {
    let workspace = message.workspace_id();
    match &message.data {
        Contents::One(data) => {
            format!(
                "Leaked and revoked: {} of workspace {workspace}",
                named(&data.token_id, &data.token_name)
            )
        }
        Contents::Many(many) => format!("Leaked and revoked: {} tokens of workspace {workspace}", many.leaks),
        Contents::Used(used) => used::subject(used),
    }
}

/// The text of a mail.
pub(super) fn text(message: &Message) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = match &message.data {
        Contents::One(data) => write_one(&mut text, data),
        Contents::Many(many) => write_many(&mut text, many),
        Contents::Used(used) => used::write_text(&mut text, used),
    };
    text
}

fn write_many(text: &mut String, many: &Many) -> std::fmt::Result {
    writeln!(text, "{} tokens of workspace {} were found where strangers", many.leaks, many.workspace_id)?;
    writeln!(text, "can read them, and do not work any more.\n")?;
    writeln!(text, "WHAT TO DO NOW\n")?;
    writeln!(text, "1. Make new tokens and put them where the old ones were used.")?;
    writeln!(text, "2. Look through what the old tokens did, and undo what was not yours.")?;
    writeln!(text, "3. Take the tokens out of the places where they were found, their history included.\n")?;
    let ListSteps { list, list_command } = &many.next_steps;
    writeln!(text, "All of them, as a workspace owner:\n\n     {} {}\n", list.method, list.url)?;
    writeln!(text, "or as the gateway's operator:\n\n     {list_command}\n")?;
    for data in &many.tokens {
        writeln!(text, "{} was revoked at {}", named(&data.token_id, &data.token_name), data.revoked_at)?;
        for (what, value) in [("found at", &data.found.url), ("found in", &data.found.source)] {
            if !value.is_empty() {
                writeln!(text, "  {what} {value}")?;
            }
        }
        if let Some(report) = &data.activity {
            let activity = &report.activity;
            write!(text, "  since {}: {} writes, ", report.from, activity.writes)?;
            writeln!(text, "{} refused requests", activity.refusals)?;
        }
        writeln!(text, "  {} {}\n", data.next_steps.review.method, data.next_steps.review.url)?;
    }
    if many.tokens_left_out > 0 {
        writeln!(text, "({} more are not listed here)", many.tokens_left_out)?;
    }
    Ok(())
}

/// A token as people know it.
pub(super) fn named(id: &str, name: &str) -> String {
    if name.is_empty() { format!("token {id}") } else { format!("token {id} \"{name}\"") }
}

fn write_one(text: &mut String, data: &Data) -> std::fmt::Result {
    let found = &data.found;
    let token = named(&data.token_id, &data.token_name);
    writeln!(text, "The {token} of workspace {} was found by {}", data.workspace_id, found.by)?;
    writeln!(text, "where strangers can read it, and does not work any more.\n")?;
    for (what, value) in [("Found at", &found.url), ("Found in", &found.source), ("Kind", &found.kind)] {
        if !value.is_empty() {
            writeln!(text, "{what:<12} {value}")?;
        }
    }
    writeln!(text, "{:<12} {}", "Reported at", found.reported_at)?;
    writeln!(text, "{:<12} {}", "Revoked at", data.revoked_at)?;
    if !data.also_revoked.is_empty() {
        writeln!(text, "{:<12} {} (of the same family)", "With it", data.also_revoked.join(", "))?;
    }
    let replace = &data.next_steps.replace;
    writeln!(text, "\nWHAT TO DO NOW\n")?;
    writeln!(text, "1. Make a new token and put it where the old one was used. As a workspace owner:\n")?;
    writeln!(text, "     {} {}", replace.request.method, replace.request.url)?;
    if let Some(body) = &replace.request.body {
        writeln!(text, "     {body}")?;
    }
    writeln!(text, "\n   or as the gateway's operator:\n\n     {}\n", replace.command)?;
    writeln!(
        text,
        "2. Look through what the old token did (below), and undo what was not yours. All of it:\n"
    )?;
    writeln!(text, "     {} {}\n", data.next_steps.review.method, data.next_steps.review.url)?;
    writeln!(text, "3. Take the token out of the place where it was found, its history included.\n")?;
    match &data.activity {
        Some(report) => write_report(text, report, &data.also_revoked),
        None => writeln!(text, "What the token did is not known: this gateway keeps no journal."),
    }
}

fn write_report(text: &mut String, report: &Report, also_revoked: &[String]) -> std::fmt::Result {
    let activity = &report.activity;
    let who = if also_revoked.is_empty() { "IT" } else { "IT AND ITS FAMILY" };
    writeln!(text, "WHAT {who} DID SINCE {}\n", report.from)?;
    writeln!(text, "{} writes, {} refused requests", activity.writes, activity.refusals)?;
    if activity.refusals_after_revocation > 0 {
        writeln!(text, "tried {} times after it was revoked", activity.refusals_after_revocation)?;
    }
    if report.gateways_missing > 0 {
        writeln!(
            text,
            "(without what {} gateways have seen, which cannot be reached)",
            report.gateways_missing
        )?;
    }
    if !activity.addresses.is_empty() {
        writeln!(text, "from {}", activity.addresses.join(", "))?;
    }
    if report.requests_left_out > 0 {
        writeln!(text, "({} more are not listed; writes were listed first)", report.requests_left_out)?;
    }
    if !report.requests.is_empty() {
        writeln!(text)?;
    }
    for line in &report.requests {
        let entry = &line.0;
        writeln!(
            text,
            "{} {} {} {} {} from {} ({}) request {}",
            Moment(entry.at_unix_millis / 1_000),
            entry.method,
            entry.resource,
            entry.status,
            entry.outcome,
            entry.address,
            entry.user_agent,
            entry.request_id
        )?;
        if !also_revoked.is_empty() {
            writeln!(text, "  by {}", entry.token_id)?;
        }
    }
    Ok(())
}
