//! A small file, where an operator keeps a document in place of its server.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// Reads a file off the request threads; [`None`] if it is longer than `max_bytes`.
pub async fn read(path: PathBuf, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let read = move || {
        let mut bytes = Vec::new();
        File::open(path)?.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() <= max_bytes).then_some(bytes))
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}
