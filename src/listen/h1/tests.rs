//! Responses on a connection whose client does as it is told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use super::response::{Ending, ResponseHead};
use crate::clock::Deadline;
use crate::listen::transport::Transport;
use crate::listen::{Bounds, Settings};
use crate::message::{BodyFault, BodyStream, Completion, Delivery, Part, Payload, Response};

/// The client's side of a connection.
#[derive(Default)]
struct Client {
    got: RefCell<Vec<u8>>,
    /// Bytes that a flush still has to hand over, as TLS does.
    held: Cell<usize>,
    /// Of those, how many the client takes at each flush, and how often it does.
    takes: Cell<(usize, usize)>,
    taken: Cell<u64>,
    resets: Cell<bool>,
}

struct Wire(Rc<Client>);

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.got.borrow_mut().extend_from_slice(bytes);
        self.0.held.set(self.0.held.get() + bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (bytes, times) = self.0.takes.get();
        let taken = if times > 0 { bytes.min(self.0.held.get()) } else { 0 };
        self.0.takes.set((bytes, times.saturating_sub(1)));
        self.0.held.set(self.0.held.get() - taken);
        self.0.taken.set(self.0.taken.get() + taken as u64);
        if self.0.held.get() == 0 {
            return Poll::Ready(Ok(()));
        }
        if taken > 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Wire {
    fn taken_bytes(&self) -> u64 {
        self.0.taken.get()
    }

    fn set_reset_when_closed(&self, reset: bool) {
        self.0.resets.set(reset);
    }
}

/// A body of these parts, all of them there at once.
struct Parts(VecDeque<Result<Part, BodyFault>>);

impl BodyStream for Parts {
    fn poll_part(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn stream(parts: &[Result<&'static str, BodyFault>], length: Option<u64>) -> Payload<'static> {
    let part = |part: &Result<&'static str, BodyFault>| part.map(|text| Part::Data(Bytes::from(text)));
    Payload::Stream { stream: Box::new(Parts(parts.iter().map(part).collect())), length }
}

#[derive(Clone, Default)]
struct Told {
    client: Rc<Client>,
    delivery: Rc<Cell<Option<(u64, Delivery)>>>,
    got_when_it_ends: Rc<Cell<Option<usize>>>,
}

impl Completion for Told {
    fn ends(&mut self) {
        let got = self.got_when_it_ends.take().unwrap_or(self.client.got.borrow().len());
        self.got_when_it_ends.set(Some(got));
    }

    fn sent(self: Box<Self>, body_bytes: u64, delivery: Delivery) {
        self.delivery.set(Some((body_bytes, delivery)));
    }
}

/// What became of one response.
struct Written {
    ending: Ending,
    delivery: Option<(u64, Delivery)>,
    got: String,
    got_when_it_ends: Option<usize>,
    resets: bool,
}

const USUAL: ResponseHead = ResponseHead { is_http_10: false, to_head: false, keep_alive: true };
const HTTP_10: ResponseHead = ResponseHead { is_http_10: true, ..USUAL };

/// Writes one response to a client that takes so many bytes at each of so many flushes.
fn write(status: u16, payload: Payload<'static>, shape: ResponseHead, takes: (usize, usize)) -> Written {
    let client = Rc::new(Client { takes: Cell::new(takes), ..Client::default() });
    let mut bounds = Bounds::from(&Settings::default());
    bounds.write = Duration::from_millis(20);
    let connection = Connection::new(Wire(Rc::clone(&client)), BytesMut::new(), bounds);
    let told = Told { client: Rc::clone(&client), ..Told::default() };
    let completion: Option<Box<dyn Completion>> = Some(Box::new(told.clone()));
    let response =
        Response { status, fields: b"x-a: b\r\n".to_vec().into(), payload, close: false, completion };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ending = runtime.block_on(connection.write_response(response, shape, &mut Deadline::new()));
    let got = String::from_utf8(client.got.take()).unwrap();
    let (delivery, got_when_it_ends) = (told.delivery.get(), told.got_when_it_ends.get());
    Written { ending, delivery, got, got_when_it_ends, resets: client.resets.get() }
}

const ALL: (usize, usize) = (usize::MAX, usize::MAX);

#[test]
fn a_client_that_takes_nothing_of_a_flush_is_given_up() {
    for payload in [Payload::Full(b"hello".to_vec().into()), stream(&[Ok("hello")], None)] {
        let written = write(200, payload, USUAL, (0, 0));
        assert_eq!(written.ending, Ending::Gone);
        assert_eq!(written.delivery, Some((5, Delivery::ClientGone)));
        assert!(written.resets, "nothing of it is left in the system");
    }
}

#[test]
fn a_client_that_takes_a_little_in_time_is_waited_for() {
    for payload in [Payload::Full(b"hello".to_vec().into()), stream(&[Ok("hello")], Some(5))] {
        let written = write(200, payload, USUAL, (1, usize::MAX));
        assert_eq!(written.ending, Ending::KeepAlive);
        assert_eq!(written.delivery, Some((5, Delivery::Complete)));
    }
}

#[test]
fn the_end_is_told_before_the_client_can_have_the_whole_answer() {
    let long: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
    let payloads = || {
        [
            Payload::None { described_length: None },
            Payload::Full(b"hello".to_vec().into()),
            stream(&[Ok("hello")], Some(5)),
            stream(&[Ok("hello")], None),
            stream(&[Ok(long)], Some(100_000)),
            stream(&[Ok(long), Ok("hello")], None),
        ]
    };
    for shape in [USUAL, HTTP_10] {
        for (index, payload) in payloads().into_iter().enumerate() {
            let written = write(200, payload, shape, ALL);
            let told = written.got_when_it_ends;
            assert!(told.is_some_and(|got| got < written.got.len()), "{index} {told:?}");
        }
    }
    for length in [None, Some(5)] {
        let broken = write(200, stream(&[Ok("hel"), Err(BodyFault::AnswerBroken)], length), USUAL, ALL);
        assert_eq!(broken.got_when_it_ends, None);
    }
}

#[test]
fn what_was_gathered_of_a_body_that_breaks_off_is_written_and_seen_to_be_cut() {
    let broken = || [Ok("hel"), Err(BodyFault::AnswerBroken)];
    let chunked = write(200, stream(&broken(), None), USUAL, ALL);
    assert!(chunked.got.ends_with("\r\n\r\n3\r\nhel\r\n"), "{}", chunked.got);
    assert_eq!((chunked.ending, chunked.resets), (Ending::Close, false));
    let length = write(200, stream(&broken(), Some(5)), USUAL, ALL);
    assert!(length.got.contains("content-length: 5\r\n") && length.got.ends_with("\r\n\r\nhel"));
    assert_eq!((length.ending, length.resets), (Ending::Close, false));
    for written in [chunked, length] {
        assert_eq!(written.delivery, Some((3, Delivery::Broken(BodyFault::AnswerBroken))));
    }
}

#[test]
fn a_cut_that_only_the_end_of_the_connection_shows_is_a_reset() {
    let cut = write(200, stream(&[Ok("hel"), Err(BodyFault::AnswerBroken)], None), HTTP_10, ALL);
    assert!(cut.got.ends_with("connection: close\r\n\r\nhel"), "{}", cut.got);
    assert_eq!((cut.ending, cut.resets), (Ending::Gone, true));
    let whole = write(200, stream(&[Ok("hel")], None), HTTP_10, ALL);
    assert_eq!((whole.ending, whole.resets), (Ending::Close, false));
}

#[test]
fn answers_without_a_body_have_none_whatever_was_meant_for_them() {
    let head = ResponseHead { to_head: true, ..USUAL };
    let payloads = || {
        [
            Payload::Full(b"hello".to_vec().into()),
            stream(&[Ok("hello")], Some(5)),
            stream(&[Ok("hello")], None),
        ]
    };
    for (status, shape) in [(200, head), (204, USUAL), (204, head), (304, USUAL), (304, head)] {
        for payload in payloads() {
            let announces = status != 204
                && matches!(payload, Payload::Full(_) | Payload::Stream { length: Some(_), .. });
            let written = write(status, payload, shape, ALL);
            assert!(written.got.ends_with("\r\n\r\n"), "{status} {}", written.got);
            assert!(!written.got.contains("transfer-encoding"), "{status} {}", written.got);
            assert_eq!(written.got.contains("content-length: 5\r\n"), announces, "{status} {}", written.got);
            assert_eq!(
                (written.ending, written.delivery),
                (Ending::KeepAlive, Some((0, Delivery::Complete)))
            );
        }
    }
}
