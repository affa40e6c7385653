//! Tokens that nobody made cost neither a query nor memory, through the real binary on PostgreSQL.
//!
//! The short form sends 30,000 well-formed unknown tokens and as many malformed ones; with `TOLLGATE_LONG=1` it is a
//! million of each.

use std::time::{Duration, Instant};

use tollgate::tokens::{Format, SystemRandom};

use super::alone;
use super::server::Server;
use crate::support::{Client, request};

/// How many requests are under way on the connection.
const PIPELINED: usize = 100;
/// Looks at the log and at what waits, a second; those of the journal and of messages included.
const LOOKS_A_SECOND: u64 = 30;

/// Sends as many unknown tokens and as many malformed ones, each refused.
fn flood(client: &mut Client, count: usize) {
    let format = Format::new("sgp_");
    for sent in (0..count).step_by(PIPELINED) {
        let mut bytes = Vec::new();
        for n in 0..PIPELINED {
            let token = format.mint('u', &SystemRandom).unwrap().into_exposed();
            // Cut short, of another checksum, of another prefix.
            let malformed = match (sent + n) % 3 {
                0 => token[..60].to_owned(),
                1 => token[..67].to_owned() + if token.ends_with('a') { "b" } else { "a" },
                _ => token.replacen("sgp_", "spg_", 1),
            };
            for token in [&token, &malformed] {
                bytes.extend_from_slice(&request("GET", "/sources", token, ""));
            }
        }
        client.write(&bytes);
        for _ in 0..2 * PIPELINED {
            assert_eq!(client.read(false).said(), (401, "token_unknown".to_owned()));
        }
    }
}

#[test]
fn unknown_and_malformed_tokens_cost_no_query_and_no_memory() {
    let is_long = std::env::var("TOLLGATE_LONG").is_ok_and(|long| long == "1");
    let count = if is_long { 1_000_000 } else { 30_000 };
    let server = Server::start();
    let (gateway, _upstream) =
        alone(&server, "[limits.failed_authentications]\nexempt = [\"127.0.0.1/32\"]\n");
    let transactions = || -> u64 {
        let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'test0'";
        server.sql("postgres", sql).parse().unwrap()
    };
    let mut client = gateway.connect();
    flood(&mut client, count / 5);
    let (memory, asked, began) = (gateway.process.resident_bytes(), transactions(), Instant::now());
    flood(&mut client, count);
    let took = began.elapsed() + Duration::from_secs(1);
    let asked = transactions() - asked;
    let grown = gateway.process.resident_bytes().saturating_sub(memory);
    println!("{count} of each in {took:?}: {asked} transactions, {grown} bytes more");
    assert!(asked <= 50 + LOOKS_A_SECOND * took.as_secs(), "{asked} transactions in {took:?}");
    assert!(grown < 3 << 20, "{grown} bytes more");
    assert_eq!(super::Fleet::registry(&gateway)["tokens"], 0);
}
