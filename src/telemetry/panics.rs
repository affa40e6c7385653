//! What is written of a panic: where it was, and nothing of what it says.
//!
//! A panic's message quotes what was at hand, which may be a credential; the standard library writes it to standard
//! error. Nobody needs it to find the place.

use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::thread;

/// Has every panic of this process told by its place and thread alone.
pub fn tell_panics_by_place() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(thread, place, "a panic, which is a mistake of tollgate's: please report its place");
    } else {
        // Nobody reads it, or somebody does.
        let _ = writeln!(io::stderr(), "tollgate panicked at {place}: please report this");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};

    use super::*;

    #[test]
    fn a_panic_tells_where_and_not_what() {
        let token = format!("sgp_u{}", "7".repeat(63));
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(log.reopen().unwrap()).finish();
        let before = take_hook();
        tell_panics_by_place();
        let ended =
            tracing::subscriber::with_default(subscriber, || catch_unwind(|| panic!("no token: {token}")));
        set_hook(before);
        assert!(ended.is_err());
        let written = std::fs::read_to_string(log.path()).unwrap();
        assert!(written.contains("panics.rs:") && written.contains("report its place"), "{written}");
        assert!(!written.contains("no token") && !written.contains("7777"), "{written}");
    }
}
