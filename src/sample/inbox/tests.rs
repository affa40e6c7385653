use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Says lines to a mail server and reads until it hangs up.
async fn talk(inbox: Arc<Inbox>, said: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(inbox.serve_mail(listener, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    server.abort();
    heard
}

#[test]
fn a_mail_is_kept_without_its_envelope() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("inbox");
    let inbox = Arc::new(Inbox::open(&folder).unwrap());
    let said =
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: tok_1\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    let heard = run(talk(Arc::clone(&inbox), said));
    let codes: Vec<&str> = heard.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "250", "354", "250", "221"], "{heard}");
    assert_eq!(Inbox::find(&folder, Channel::Mail, "tok_1").unwrap(), "Subject: tok_1\r\n\r\n.dot\r\n");
    assert!(Inbox::find(&folder, Channel::Webhook, "tok_1").is_none());
    assert!(Inbox::find(&folder, Channel::Mail, "tok_2").is_none());
}

#[test]
fn half_a_mail_is_none_and_unknown_commands_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Arc::new(Inbox::open(folder.path()).unwrap());
    let heard = run(talk(Arc::clone(&inbox), "VRFY x\r\nDATA\r\nSubject: tok_1\r\n"));
    assert!(heard.contains("502 "), "{heard}");
    let flood = format!("DATA\r\n{}.\r\n", "x".repeat(MAX_MESSAGE_BYTES + 1));
    run(talk(inbox, &flood));
    assert!(Inbox::find(folder.path(), Channel::Mail, "").is_none());
}

#[test]
fn the_oldest_messages_go() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path()).unwrap();
    for number in 0..MOST_MESSAGES + 3 {
        inbox.put(Channel::Mail, format!("<{number}>").as_bytes()).unwrap();
    }
    let find = |number: usize| Inbox::find(folder.path(), Channel::Mail, &format!("<{number}>"));
    assert!(find(2).is_none() && find(3).is_some() && find(MOST_MESSAGES + 2).is_some());
}
