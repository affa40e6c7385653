//! An answer's body as it arrives.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::exchange::Exchange;
use super::forward::Fault;
use super::pool::Pool;
use crate::message::{BodyFault, BodyStream, ChunkDecoder, Decoded, Framing, Part};

/// Most bytes of an answer's body that are looked at before the client is told of the answer.
const AHEAD_BYTES: usize = 64 * 1024;

enum Left {
    Length(u64),
    Chunks(ChunkDecoder),
    UntilClose,
    Nothing,
}

/// The stream over an answer's body. It goes on with the request's upload while it is polled, and hands the
/// connection back at a clean end. What has arrived of the answer is told before a fault of the request is.
pub(super) struct ResponseStream<'c> {
    exchange: Option<Exchange<'c>>,
    left: Left,
    reusable: bool,
    pool: Rc<Pool>,
    /// Parts that were read before the client was told of the answer.
    ahead: VecDeque<Part>,
}

impl<'c> ResponseStream<'c> {
    pub(super) fn new(exchange: Exchange<'c>, framing: Framing, reusable: bool) -> Self {
        let left = match framing {
            Framing::None => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks(ChunkDecoder::new()),
            Framing::UntilClose => Left::UntilClose,
        };
        let pool = Rc::clone(&exchange.pool);
        let mut stream = Self { exchange: Some(exchange), left, reusable, pool, ahead: VecDeque::new() };
        stream.stop_waiting();
        stream
    }

    /// Reads what is there already, up to a bound: an answer that is seen to be broken before anybody was told
    /// of it is no answer, and can be replaced by a refusal.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let mut held_bytes = 0;
        while held_bytes < AHEAD_BYTES {
            match self.poll_next(cx) {
                Poll::Ready(Some(Ok(part))) => {
                    let content_bytes = if let Part::Data(data) = &part { data.len() } else { 0 };
                    held_bytes += size_of::<Part>() + content_bytes;
                    self.ahead.push_back(part);
                }
                Poll::Ready(Some(Err(BodyFault::AnswerBroken))) => return Err(Fault::Broken),
                Poll::Ready(Some(Err(BodyFault::AnswerLate))) => return Err(Fault::Timeout),
                Poll::Ready(Some(Err(fault))) => return Err(Fault::Client(fault)),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Only the time in which we wait for the upstream counts, not the time in which the client takes what we
    /// have.
    fn stop_waiting(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.connection.deadline.clear();
        }
    }

    /// The next part from what was read; the outer [`None`] if more must be read.
    #[expect(
        clippy::option_option,
        reason = "`None` inside is the end of the body, outside it is no answer yet"
    )]
    fn decode(&mut self) -> Option<Option<Result<Part, BodyFault>>> {
        let Some(exchange) = &mut self.exchange else { return Some(None) };
        let input: &mut BytesMut = &mut exchange.connection.input;
        match &mut self.left {
            Left::Nothing => Some(None),
            Left::Length(_) | Left::UntilClose if input.is_empty() => None,
            Left::Length(left) => {
                let take = (*left).min(input.len() as u64);
                let rest = *left - take;
                let part = Part::Data(input.split_to(take as usize).freeze());
                self.left = if rest == 0 { Left::Nothing } else { Left::Length(rest) };
                Some(Some(Ok(part)))
            }
            Left::UntilClose => Some(Some(Ok(Part::Data(input.split().freeze())))),
            Left::Chunks(decoder) => match decoder.decode(input) {
                Err(_) => Some(Some(Err(BodyFault::AnswerBroken))),
                Ok(Decoded::NeedMore { consumed }) => {
                    input.advance(consumed);
                    None
                }
                Ok(Decoded::Data(range)) => {
                    input.advance(range.start);
                    Some(Some(Ok(Part::Data(input.split_to(range.len()).freeze()))))
                }
                Ok(Decoded::End { consumed, trailers }) => {
                    input.advance(consumed);
                    self.left = Left::Nothing;
                    let mut lines = Vec::new();
                    exchange.pool.rules.trailer_lines(&trailers, &mut lines);
                    Some((!lines.is_empty()).then_some(Ok(Part::Trailers(lines))))
                }
            },
        }
    }

    /// The body has ended cleanly: the connection can serve another request.
    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take()
            && self.reusable
            && exchange.is_sent()
            && exchange.connection.input.is_empty()
        {
            exchange.pool.put_back(exchange.connection);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        loop {
            if let Some(exchange) = &mut self.exchange {
                exchange.poll_upload(cx);
                if Instant::now() >= exchange.latest {
                    self.exchange = None;
                    return Poll::Ready(Some(Err(BodyFault::AnswerLate)));
                }
            }
            if let Some(part) = self.decode() {
                match &part {
                    Some(Ok(_)) => self.stop_waiting(),
                    Some(Err(_)) => self.exchange = None,
                    None => self.finish(),
                }
                return Poll::Ready(part);
            }
            let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
            if let Some(fault) = exchange.client_fault() {
                self.exchange = None;
                return Poll::Ready(Some(Err(fault)));
            }
            match exchange.connection.poll_read_more(cx) {
                Poll::Ready(Ok(0)) if matches!(self.left, Left::UntilClose) => {
                    self.exchange = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.exchange = None;
                    return Poll::Ready(Some(Err(BodyFault::AnswerBroken)));
                }
                Poll::Ready(Ok(_)) => self.stop_waiting(),
                Poll::Pending => {
                    let idle = exchange.pool.settings.idle;
                    if exchange.waits_for_client() || !exchange.connection.deadline.is_set() {
                        exchange.connection.deadline.set_within(idle, exchange.latest);
                    }
                    if exchange.connection.deadline.poll_expired(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.exchange = None;
                    return Poll::Ready(Some(Err(BodyFault::AnswerLate)));
                }
            }
        }
    }
}

impl BodyStream for ResponseStream<'_> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        if let Some(part) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(part)));
        }
        let polled = self.poll_next(cx);
        if let Poll::Ready(Some(Err(BodyFault::AnswerBroken))) = polled {
            self.pool.note_fault(Fault::Broken);
        }
        polled
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.poll_upload(cx);
        }
    }
}
