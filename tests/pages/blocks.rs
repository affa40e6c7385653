//! The fenced blocks of a page of the documentation.

use std::fs;

/// A fenced block.
pub(crate) struct Block {
    /// What stands behind its fence: `sh`, `toml`, `json`, …
    pub(crate) kind: String,
    pub(crate) text: String,
    /// The block of kind `text` that follows with nothing but empty lines between: what a command prints.
    pub(crate) shown: String,
}

/// The blocks of a page, in order. One that is part of a list stands without the list's indentation.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    let mut is_behind_commands = false;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, &mut open) {
            (Some(kind), None) => {
                let indentation = line.len() - line.trim_start().len();
                let block = Block { kind: kind.to_owned(), text: String::new(), shown: String::new() };
                open = Some((indentation, block));
            }
            (Some(_), Some(_)) => {
                let Some((_, block)) = open.take() else { continue };
                if block.kind == "text" && is_behind_commands {
                    found.last_mut().unwrap().shown = block.text;
                } else {
                    is_behind_commands = block.kind == "sh";
                    found.push(block);
                }
            }
            (None, Some((indentation, block))) => {
                block.text.push_str(line.get(*indentation..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => is_behind_commands &= line.is_empty(),
        }
    }
    found
}
