//! A message as a text for people.

use std::fmt::Write as _;

use super::message::{Data, Leaked, Message, Report};
use super::used;
use crate::tokens::Moment;

/// The subject of a mail; one line, because a token's name and a workspace's id are.
pub(super) fn subject(message: &Message) -> String {
    match &message.data {
        Data::Leaked(leaked) => {
            let token = named(&leaked.token_id, &leaked.token_name);
            format!("Leaked and revoked: {token} of workspace {}", leaked.workspace_id)
        }
        Data::Used(used) => used::subject(used),
    }
}

/// The text of a mail.
pub(super) fn text(message: &Message) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = match &message.data {
        Data::Leaked(leaked) => write_text(&mut text, leaked),
        Data::Used(used) => used::write_text(&mut text, used),
    };
    text
}

/// A token as people know it.
pub(super) fn named(id: &str, name: &str) -> String {
    if name.is_empty() { format!("token {id}") } else { format!("token {id} \"{name}\"") }
}

fn write_text(text: &mut String, data: &Leaked) -> std::fmt::Result {
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
        Some(report) => write_report(text, report),
        None => writeln!(text, "What the token did is not known: this gateway keeps no journal."),
    }
}

fn write_report(text: &mut String, report: &Report) -> std::fmt::Result {
    let activity = &report.activity;
    writeln!(text, "WHAT IT DID SINCE {}\n", report.from)?;
    writeln!(text, "{} writes, {} refused requests", activity.writes, activity.refusals)?;
    if !activity.addresses.is_empty() {
        writeln!(text, "from {}", activity.addresses.join(", "))?;
    }
    if report.requests_left_out > 0 {
        writeln!(text, "({} older ones are not listed)", report.requests_left_out)?;
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
    }
    Ok(())
}
