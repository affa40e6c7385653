//! What the process takes of its machine, as the kernel says it.

use std::fs;

/// Memory and processor time; [`None`] where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) resident_bytes: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
}

/// Ticks in a second of `/proc`, fixed by the kernel's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self { resident_bytes: resident_bytes(&status), cpu_seconds: cpu_seconds(&stat) }
    }
}

/// Reads `VmRSS:   1234 kB` (proc(5), `/proc/pid/status`).
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

/// Reads `utime` and `stime`, the 14th and 15th field (proc(5), `/proc/pid/stat`); the second field may hold
/// spaces and ends with the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t    12 kB\n"), Some(12_288));
        assert_eq!(resident_bytes(""), None);
        assert_eq!(cpu_seconds("1 (a b) c) S 1 1 1 0 -1 4 5 0 0 0 150 50 0 0 20"), Some(2.0));
        assert_eq!(cpu_seconds("1 (a"), None);
    }
}
