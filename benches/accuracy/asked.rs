//! What Redis is asked, by its own account.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};

/// Counts the questions about each policy's buckets until it is stopped (`MONITOR`).
pub(crate) struct Monitor {
    stream: TcpStream,
    lines: JoinHandle<Vec<usize>>,
}

impl Monitor {
    pub(crate) fn start(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        (&stream).write_all(b"MONITOR\r\n").unwrap();
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "+OK");
        let lines = thread::spawn(move || {
            let mut counts = Vec::new();
            for line in from.lines().map_while(Result::ok).filter(|line| line.contains("\"EVALSHA\"")) {
                let Some((_, rest)) = line.split_once("}:limit") else { continue };
                let digits = rest.split(|digit: char| !digit.is_ascii_digit()).next().unwrap_or_default();
                let Ok(place) = digits.parse::<usize>() else { continue };
                counts.resize(counts.len().max(place + 1), 0);
                counts[place] += 1;
            }
            counts
        });
        Self { stream, lines }
    }

    /// The questions about each of so many policies.
    pub(crate) fn stop(self, policies: usize) -> Vec<usize> {
        self.stream.shutdown(Shutdown::Both).unwrap();
        let mut counts = self.lines.join().unwrap();
        counts.resize(policies, 0);
        counts
    }
}
