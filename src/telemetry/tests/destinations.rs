//! Which lines are written, and where they go: what is slow, fails, or is moved away under them.

use super::*;

#[test]
fn served_requests_are_sampled_and_refused_ones_never() {
    let bench = Bench::new(&settings("access_sample = 10"));
    for _ in 0..100 {
        bench.open(b"/", b"").finish(Outcome::Forwarded, 200);
        bench.open(b"/", b"").finish(Outcome::TokenUnknown, 401);
    }
    let lines = bench.lines();
    let served: Vec<_> = lines.iter().filter(|line| line.contains("\"forwarded\",\"status\"")).collect();
    assert_eq!((served.len(), lines.len()), (10, 110));
    assert!(served[0].contains("\"sample\":10"));
}

#[test]
fn only_refused_requests_are_written_if_asked() {
    let bench = Bench::new(&settings("access = \"refused\""));
    bench.open(b"/", b"").finish(Outcome::Forwarded, 200);
    bench.open(b"/", b"").finish(Outcome::TokenUnknown, 401);
    assert_eq!(bench.lines().len(), 1);
}

/// A destination that takes nothing until it is told to.
struct Stuck {
    entered: Sender<()>,
    release: Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.release.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dead_destination_costs_lines_and_never_blocks() {
    let (entered, was_entered) = channel();
    let (release, released) = channel();
    let lines =
        Lines::start("tollgate-test", Box::new(Stuck { entered, release: released }), None, 1).unwrap();
    let line = vec![b'x'; 1_000];
    let push = || lines.push(0, |out| out.extend_from_slice(&line));
    push();
    was_entered.recv_timeout(SOON).unwrap();
    let mut pushed = 0_u64;
    while lines.dropped() < 100 {
        push();
        pushed += 1;
        assert!(pushed < 100_000, "memory is not bounded");
    }
    assert!(!lines.stop(Duration::ZERO), "the writer cannot have ended");
    drop(release);
    assert!(lines.stop(SOON));
}

#[test]
fn a_failing_destination_is_counted() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::start("tollgate-test", Box::new(Broken), None, 1).unwrap();
    lines.push(0, |out| out.extend_from_slice(b"a\nb\n"));
    assert!(lines.stop(SOON));
    assert_eq!(lines.dropped(), 2);
}

#[test]
fn a_file_is_appended_to_and_opened_again_after_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    std::fs::write(&path, "before\n").unwrap();
    let lines = Lines::open(Destination::File(path.clone()), 1).unwrap();
    lines.push(0, |out| out.extend_from_slice(b"one\n"));
    while std::fs::read_to_string(&path).unwrap() != "before\none\n" {
        std::thread::yield_now();
    }
    std::fs::rename(&path, &rotated).unwrap();
    lines.reopen();
    while !path.exists() {
        std::thread::yield_now();
    }
    lines.push(0, |out| out.extend_from_slice(b"two\n"));
    assert!(lines.stop(SOON));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    assert!(Lines::open(Destination::File(folder.path().join("no/such")), 1).is_err());
}

#[test]
fn events_of_the_program_go_through_the_same_bounded_lines() {
    let kept = Kept::default();
    let lines = Arc::new(Lines::start("tollgate-test", Box::new(kept.clone()), None, 1).unwrap());
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(program_log::LineWriter(Arc::clone(&lines)))
        .finish();
    tracing::subscriber::with_default(subscriber, || tracing::info!(port = 8080, "listening\nforged"));
    assert!(lines.stop(SOON));
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1);
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((event["message"].as_str(), event["port"].as_u64()), (Some("listening\nforged"), Some(8080)));
}
