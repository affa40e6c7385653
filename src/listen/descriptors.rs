//! Open files: how many the system lets us have, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside connections: store, logs, operators, a name's look-up, and what each worker needs.
const OTHERS: u64 = 24;
const OTHERS_PER_WORKER: u64 = 4;
/// Most that are kept free for connections to upstreams; below that a quarter.
const UPSTREAM_MOST: u64 = 4_096;

/// Raises the limit of open files as far as the system allows, and says how many client connections it is
/// enough for, at most `wanted`: connections to upstreams and the rest of the gateway need some too.
pub fn affordable_connections(wanted: usize, workers: usize) -> usize {
    let limit = raised();
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let affordable = connections_within(limit, open + OTHERS_PER_WORKER * workers as u64);
    let granted = wanted.min(usize::try_from(affordable).unwrap_or(usize::MAX));
    if granted < wanted {
        tracing::warn!(
            limit,
            connections = granted,
            "the limit of open files is too low for listen.max_connections = {wanted}; raise it (LimitNOFILE, ulimit -n)"
        );
    }
    granted
}

fn raised() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Without a limit there is nothing to raise; a refusal leaves the one that there is.
    let raised =
        current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    if raised { maximum } else { current }.unwrap_or(u64::MAX)
}

fn connections_within(limit: u64, others: u64) -> u64 {
    let left = limit.saturating_sub(others + OTHERS);
    (left - (left / 4).min(UPSTREAM_MOST)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_get_their_share_and_clients_never_nothing() {
        assert_eq!(connections_within(64, 20), 15);
        assert_eq!(connections_within(20_000, 36), 15_844);
        assert_eq!(connections_within(16, 20), 1);
    }

    #[test]
    fn a_modest_wish_is_granted() {
        assert_eq!(affordable_connections(1, 1), 1);
    }
}
