//! Questions as calls of the script, and its replies as answers.

use redis::{Cmd, Value};

use crate::limits::shared::{Answer, Asked, Bucket, Grant, Held, MOST_ASKED, Question, TICK_NANOS};

/// What a script says: when, by the server's clock in ticks since 2025, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply<T> {
    pub(super) server_ticks: u64,
    pub(super) said: T,
}

/// The call that asks a question until `not_after` of the server's clock; [`None`] if it asks of nothing, or of more
/// than a question may.
pub(super) fn command(digest: &str, prefix: &str, question: &Question, not_after: u64) -> Option<Cmd> {
    let asked = &question.asked;
    if asked.is_empty() || asked.len() > MOST_ASKED {
        return None;
    }
    let mut command = redis::cmd("EVALSHA");
    command.arg(digest).arg(asked.len());
    for asked in asked {
        command.arg(key(prefix, &question.group, asked));
    }
    let (began, ended) = question
        .outage
        .map_or((0, 0), |outage| (ticks(outage.began_ago_nanos), ticks(outage.ended_ago_nanos)));
    command.arg(began).arg(ended).arg(not_after);
    for asked in asked {
        for number in numbers(asked) {
            command.arg(number);
        }
    }
    Some(command)
}

/// A bucket's key: what is in braces decides the hash slot, so a group's buckets are together.
pub(super) fn key(prefix: &str, group: &str, asked: &Asked) -> String {
    let name = &asked.name;
    match asked.bucket {
        Bucket::Gcra { .. } => format!("{prefix}:{{{group}}}:{name}"),
        Bucket::Calendar { began_unix_seconds, .. } => {
            format!("{prefix}:{{{group}}}:{name}:{began_unix_seconds}")
        }
    }
}

/// Interval, burst, lease, need, want, and what was held, as the script takes them.
fn numbers(asked: &Asked) -> [u64; 8] {
    let (need, want) = (u64::from(asked.need), u64::from(asked.want));
    let Held { period, spent, kept } = asked.held;
    let (spent, kept) = (u64::from(spent), u64::from(kept));
    match asked.bucket {
        Bucket::Gcra { interval_nanos, burst, lease_nanos } => {
            let interval = ticks(interval_nanos).max(1);
            [interval, u64::from(burst), ticks(lease_nanos), need, want, period, spent, kept]
        }
        Bucket::Calendar { requests, ends_in_nanos, .. } => {
            [0, u64::from(requests), ticks(ends_in_nanos), need, want, 0, 0, 0]
        }
    }
}

/// Ticks of a time, rounded up: an interval is never shorter than what was asked.
const fn ticks(nanos: u64) -> u64 {
    nanos.div_ceil(TICK_NANOS)
}

/// What a reply says to a question, nothing if that came too late; [`None`] if it is none that the script gives.
pub(super) fn answer(reply: &Value, question: &Question) -> Option<Reply<Option<Answer>>> {
    let numbers = numbers_of(reply)?;
    let (server_ticks, said) = match &numbers[..] {
        [0, now, place, wait] => {
            let place = usize::try_from(*place).ok()?.checked_sub(1)?;
            let wait_nanos = wait.saturating_mul(TICK_NANOS);
            (*now, (place < question.asked.len()).then_some(Some(Answer::Denied { place, wait_nanos })))
        }
        [1, now, grants @ ..] if grants.len() == 4 * question.asked.len() => {
            let grants = grants.chunks_exact(4).map(grant).collect::<Option<_>>();
            (*now, grants.map(|grants| Some(Answer::Granted(grants))))
        }
        [2, now] => (*now, Some(None)),
        _ => return None,
    };
    said.map(|said| Reply { server_ticks, said })
}

/// Which replicas there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Presence {
    pub(super) replicas: u32,
    /// When those that return from an outage go on, by the server's clock; 0 for one that does not.
    pub(super) resume_ticks: u64,
}

/// What a reply says of replicas; [`None`] if it is none that the script gives.
pub(super) fn presence(reply: &Value) -> Option<Reply<Presence>> {
    match numbers_of(reply)?[..] {
        [replicas, server_ticks, resume_ticks] => {
            let replicas = u32::try_from(replicas).ok()?;
            Some(Reply { server_ticks, said: Presence { replicas, resume_ticks } })
        }
        _ => None,
    }
}

fn numbers_of(reply: &Value) -> Option<Vec<u64>> {
    let Value::Array(reply) = reply else { return None };
    reply.iter().map(number).collect()
}

fn grant(numbers: &[u64]) -> Option<Grant> {
    let [tokens, left, period, until_full] = numbers else { return None };
    Some(Grant {
        tokens: u32::try_from(*tokens).ok()?,
        left: u32::try_from(*left).ok()?,
        period: *period,
        until_full_nanos: until_full.saturating_mul(TICK_NANOS),
    })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::shared::OutageAgo;

    fn question(buckets: usize) -> Question {
        let asked = Asked {
            name: "policy:1".into(),
            bucket: Bucket::Gcra { interval_nanos: 1_000_000_001, burst: 5, lease_nanos: 50 },
            need: 1,
            want: 3,
            held: Held { period: 77, spent: 2, kept: 1 },
        };
        let outage = Some(OutageAgo { began_ago_nanos: 900, ended_ago_nanos: 300 });
        Question { group: "ws-1".into(), asked: vec![asked; buckets], outage }
    }

    fn packed(command: &Cmd) -> String {
        String::from_utf8(command.get_packed_command()).unwrap()
    }

    #[test]
    fn a_question_is_one_call_whose_keys_share_a_slot() {
        let mut two = question(2);
        two.asked[1].bucket =
            Bucket::Calendar { requests: 700, began_unix_seconds: 1_700_000_000, ends_in_nanos: 1_000 };
        let text = packed(&command("digest", "tollgate", &two, 12_345).unwrap());
        let words: Vec<&str> = text.split("\r\n").filter(|word| !word.starts_with(['$', '*'])).collect();
        let keys =
            ["EVALSHA", "digest", "2", "tollgate:{ws-1}:policy:1", "tollgate:{ws-1}:policy:1:1700000000"];
        let numbers = [
            "9", "3", "12345", "10000001", "5", "1", "1", "3", "77", "2", "1", "0", "700", "10", "1", "3",
            "0", "0", "0", "",
        ];
        assert_eq!(words, [&keys[..], &numbers[..]].concat());
    }

    #[test]
    fn a_question_of_nothing_or_of_too_much_is_not_sent() {
        assert!(command("digest", "tollgate", &question(0), 1).is_none());
        assert!(command("digest", "tollgate", &question(MOST_ASKED + 1), 1).is_none());
    }

    #[test]
    fn replies_that_the_script_does_not_give_are_no_answers() {
        let ints = |numbers: &[i64]| Value::Array(numbers.iter().copied().map(Value::Int).collect());
        let one = question(1);
        let said =
            |numbers: &[i64]| answer(&ints(numbers), &one).map(|reply| (reply.server_ticks, reply.said));
        let grant = Grant { tokens: 3, left: 2, period: 9, until_full_nanos: 700 };
        assert_eq!(said(&[1, 44, 3, 2, 9, 7]), Some((44, Some(Answer::Granted(vec![grant])))));
        assert_eq!(said(&[0, 44, 1, 7]), Some((44, Some(Answer::Denied { place: 0, wait_nanos: 700 }))));
        assert_eq!(said(&[2, 44]), Some((44, None)));
        let present = Presence { replicas: 3, resume_ticks: 50 };
        assert_eq!(presence(&ints(&[3, 44, 50])), Some(Reply { server_ticks: 44, said: present }));
        assert!(
            [ints(&[3, 44]), ints(&[3, -1, 0]), Value::Int(3)].iter().all(|reply| presence(reply).is_none())
        );
        for wrong in [
            Value::Nil,
            Value::Okay,
            ints(&[]),
            ints(&[2]),
            ints(&[1, 44]),
            ints(&[1, 44, 3, 2, 9]),
            ints(&[1, 44, 3, 2, 9, -7]),
            ints(&[1, 44, 5_000_000_000, 2, 9, 7]),
            ints(&[1, -44, 3, 2, 9, 7]),
            ints(&[0, 44, 0, 7]),
            ints(&[0, 44, 2, 7]),
            ints(&[0, 44, 1]),
            ints(&[2, 44, 1]),
            Value::Array(vec![Value::Int(0), Value::Int(1), Value::Nil]),
        ] {
            assert_eq!(answer(&wrong, &one), None, "{wrong:?}");
        }
    }
}
