//! Where the demo's messages arrive: a mail server and a webhook that keep what they are sent as files.

mod smtp;
mod webhook;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most messages that are kept; the next one replaces the oldest.
const MOST_MESSAGES: usize = 100;
/// The longest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// A folder of messages.
#[derive(Debug)]
pub struct Inbox {
    folder: PathBuf,
    next: AtomicUsize,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// By SMTP.
    Mail,
    /// By HTTPS.
    Webhook,
}

impl Channel {
    /// How the files of its messages end.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Mail => ".eml",
            Self::Webhook => ".http",
        }
    }
}

impl Inbox {
    /// An empty inbox in a folder, which is made; what an earlier one kept there is removed.
    pub fn open(folder: &Path) -> io::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), next: AtomicUsize::new(0) })
    }

    /// Keeps a message; whoever reads the folder sees the whole of it or nothing.
    fn put(&self, channel: Channel, message: &[u8]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % MOST_MESSAGES;
        let unfinished = self.folder.join(format!("{number:02}.new"));
        std::fs::write(&unfinished, message)?;
        std::fs::rename(unfinished, self.folder.join(format!("{number:02}{}", channel.suffix())))
    }

    /// The text of the first message by a channel that holds a word, once it is there.
    pub fn find(folder: &Path, channel: Channel, word: &str) -> Option<String> {
        let files = std::fs::read_dir(folder).ok()?;
        files.filter_map(Result::ok).map(|file| file.path()).find_map(|path| {
            if !path.to_string_lossy().ends_with(channel.suffix()) {
                return None;
            }
            std::fs::read_to_string(path).ok().filter(|text| text.contains(word))
        })
    }
}

#[cfg(test)]
mod tests;
